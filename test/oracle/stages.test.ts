import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { appletsOf } from '../../src/stage/applets.ts'
import { bootScript, DHCP_SCRIPT, serviceScript, STOP_SCRIPT } from '../../src/stage/boot-scripts.ts'
import { capabilityValue } from '../../src/stage/capabilities.ts'
import { certs } from '../../src/stage/certs.ts'
import { certificatesOf, subjectHash } from '../../src/stage/subject-hash.ts'
import { users } from '../../src/stage/users.ts'
import { run, type Spec } from '../stage/scene.ts'

const MOZILLA = '/usr/share/ca-certificates/mozilla'

function tool(name: string, args: readonly string[], input?: string): string | undefined {
  const { stdout, stderr, status, error } = spawnSync(name, args, { encoding: 'utf8', input })
  if (error) return undefined
  assert.equal(status, 0, stderr)
  return stdout
}

test('appletsOf agrees with the busybox of this machine', (t) => {
  const path = ['/bin/busybox', '/usr/bin/busybox'].find((each) => existsSync(each))
  if (!path) return t.skip('needs busybox')
  const listed = (tool(path, ['--list-full']) ?? '').split('\n').filter(Boolean)
  const found = appletsOf(readFileSync(path)).map(({ name, folder }) =>
    folder === '' ? name : `${folder}/${name}`,
  )
  assert.deepEqual(found.toSorted(), listed.toSorted())
})

test('every boot script is read by sh and by busybox sh', (t) => {
  const service = { name: 'a', run: "nginx -g 'daemon off;'", kind: 'once' as const }
  const directories = [{ path: '/run/a b', mode: '755', owner: '0', group: '0' }]
  const boot = bootScript({
    services: [service],
    network: 'dhcp',
    modules: ['a'],
    ready: "it's",
    directories,
    sysctls: true,
  })
  for (const shell of [['sh'], ['busybox', 'sh']])
    for (const script of [boot, DHCP_SCRIPT, STOP_SCRIPT, serviceScript(service)])
      if (tool(shell[0] as string, [...shell.slice(1), '-n'], script) === undefined)
        return t.skip(`needs ${shell[0]}`)
})

test('subjectHash agrees with openssl on every certificate of this machine, and on odd names', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'stage5-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const files = existsSync(MOZILLA) ? readdirSync(MOZILLA).map((name) => join(MOZILLA, name)) : []
  const subjects = [
    '/CN=  Two   Blanks  /O=UPPER',
    '/CN=Ünï çödé/OU=a+OU=b',
    '/C=DE/L=x/emailAddress=A@B.example',
  ]
  for (const [at, subject] of subjects.entries()) {
    const file = join(folder, `${at}.pem`)
    const key = join(folder, 'key.pem')
    const args = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-utf8',
      '-multivalue-rdn',
    ]
    if (tool('openssl', [...args, '-keyout', key, '-out', file, '-subj', subject]) === undefined)
      return t.skip('needs openssl')
    files.push(file)
  }
  for (const file of files) {
    const [certificate] = certificatesOf(readFileSync(file, 'latin1'))
    const expected = tool('openssl', ['x509', '-in', file, '-noout', '-subject_hash'])?.trim()
    assert.equal(subjectHash(certificate?.der as Uint8Array, file), expected, file)
  }
})

test('openssl finds its roots through the links and through the bundle of the certs stage', async (t) => {
  if (!existsSync(MOZILLA)) return t.skip('needs ca-certificates')
  const specs: { [path: string]: Spec } = {}
  for (const name of readdirSync(MOZILLA))
    specs[`usr/share/ca-certificates/mozilla/${name}`] = readFileSync(join(MOZILLA, name))
  const { paths, inode, text } = await run(certs, specs)
  const folder = mkdtempSync(join(tmpdir(), 'stage5-'))
  t.after(() => rmSync(folder, { recursive: true }))
  for (const path of paths().filter((each) => each.startsWith('etc/ssl/certs/'))) {
    const found = inode(path)
    const place = join(folder, path.slice('etc/ssl/certs/'.length))
    if (found?.type === 'symlink') symlinkSync(found.target, place)
    else writeFileSync(place, await text(path))
  }
  // Of two certificates with one subject openssl itself verifies only the first.
  const single = readdirSync(MOZILLA).filter((name) => !name.endsWith('_2.crt'))
  for (const name of single.slice(0, 20)) {
    const file = join(MOZILLA, name)
    for (const trust of [
      ['-CApath', folder, '-no-CAfile', '-no-CAstore'],
      ['-CAfile', join(folder, 'ca-certificates.crt'), '-no-CApath', '-no-CAstore'],
    ])
      if (tool('openssl', ['verify', '-check_ss_sig', '-no_check_time', ...trust, file]) === undefined)
        return t.skip('needs openssl')
  }
  const own = paths()
    .filter((path) => /\.[0-9]$/.test(path))
    .map((path) => path.slice('etc/ssl/certs/'.length))
  if (existsSync('/etc/ssl/certs/ca-certificates.crt'))
    for (const name of own)
      assert.ok(existsSync(join('/etc/ssl/certs', name)), `update-ca-certificates made no ${name}`)
})

test('capabilityValue agrees with setcap', (t) => {
  if (process.getuid?.() !== 0) return t.skip('needs root')
  const folder = mkdtempSync(join(tmpdir(), 'stage5-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'f')
  for (const text of [
    'cap_net_bind_service=ep',
    'cap_setuid,cap_setgid=ei',
    'all=ep cap_chown-ep',
    '=p',
    'CAP_BPF+ip',
    'cap_chown=eip cap_chown-i',
  ]) {
    writeFileSync(file, 'x')
    if (tool('setcap', [text, file]) === undefined) return t.skip('needs setcap')
    const print = "import os, sys; print(os.getxattr(sys.argv[1], 'security.capability').hex())"
    const printed = tool('python3', ['-c', print, file])
    if (printed === undefined) return t.skip('needs python3')
    assert.equal(printed.trim(), Buffer.from(capabilityValue(text), 'latin1').toString('hex'), text)
  }
})

test('pwck and grpck accept what the users stage writes', async (t) => {
  const specs: { [path: string]: Spec } = { 'usr/sbin/nologin': '' }
  for (const name of ['passwd.master', 'group.master'])
    if (existsSync(`/usr/share/base-passwd/${name}`))
      specs[`usr/share/base-passwd/${name}`] = readFileSync(`/usr/share/base-passwd/${name}`)
  for (const name of existsSync('/usr/lib/sysusers.d') ? readdirSync('/usr/lib/sysusers.d') : [])
    specs[`usr/lib/sysusers.d/${name}`] = readFileSync(`/usr/lib/sysusers.d/${name}`)
  const { text } = await run(users, specs, {
    users: [
      { name: 'web', uid: -1, group: 'web', home: '/', shell: '/bin/sh', gecos: 'Web', groups: ['adm'] },
    ],
  })
  const folder = mkdtempSync(join(tmpdir(), 'stage5-'))
  t.after(() => rmSync(folder, { recursive: true }))
  for (const name of ['passwd', 'group', 'shadow', 'gshadow'])
    writeFileSync(join(folder, name), await text(`etc/${name}`))
  chmodSync(folder, 0o755)
  assert.ok(statSync(join(folder, 'passwd')).size > 100)
  const checks = [
    ['pwck', '-q', '-r', join(folder, 'passwd'), join(folder, 'shadow')],
    ['grpck', '-r', join(folder, 'group'), join(folder, 'gshadow')],
  ]
  for (const [name = '', ...args] of checks) {
    const { stdout, stderr, error } = spawnSync(name, args, { encoding: 'utf8', input: '' })
    if (error) return t.skip(`needs ${name}`)
    const wrong = `${stdout}${stderr}`
      .split('\n')
      .filter(
        (line) =>
          line !== '' &&
          !/does not exist|no changes|password file|no user web|delete member 'web'/.test(line),
      )
    assert.deepEqual(wrong, [], name)
  }
})
