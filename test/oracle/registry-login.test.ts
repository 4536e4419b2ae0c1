/** Real registries that let only their users in: by password, and by tokens that a service of theirs signs. */
import assert from 'node:assert/strict'
import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { findTool, run as runTool } from '../../src/host/run.ts'
import { stage5 } from '../helpers/console.ts'
import { FILED, packedProject, wordProfile } from '../helpers/project.ts'
import { startRegistry } from '../helpers/registry.ts'

const USER = 'ann'
const PASSWORD = 'open sesame:%'
const PAIR = Buffer.from(`${USER}:${PASSWORD}`).toString('base64')
const IN_ADDRESS = `${USER}:${encodeURIComponent(PASSWORD)}@`

/** A project with one build and its keys, and the command with a folder of logins of its own. */
async function openProject() {
  const project = await packedProject()
  const at = (path: string): string => join(project.directory, path)
  mkdirSync(at('stages'), { recursive: true })
  mkdirSync(at('docker'))
  writeFileSync(at('stages/filed.yaml'), FILED)
  writeFileSync(at('profiles/word.yaml'), wordProfile('one'))
  const say = (...words: string[]) =>
    stage5(project.directory, [...words, '--json'], { DOCKER_CONFIG: at('docker'), XDG_RUNTIME_DIR: '' })
  const must = async (...words: string[]): Promise<unknown> => {
    const ran = await say(...words)
    assert.equal(ran.code, 0, `${words.join(' ')}: ${ran.stdout}${ran.stderr}`)
    return JSON.parse(ran.stdout)
  }
  for (const key of ['root1', 'release', 'online']) await must('key', 'new', key)
  await must('build', 'word')
  return { at, say, must, [Symbol.dispose]: () => project[Symbol.dispose]() }
}

type Project = Awaited<ReturnType<typeof openProject>>

/** Everything that is done with a place: written, read, moved, collected. */
async function publishAll({ at, must }: Project, place: string): Promise<void> {
  await must('trust', 'init', '--to', place, '--root', 'root1')
  await must('publish', 'word', '--to', place)
  await must('channel', 'word', '--to', place)
  for (const text of ['two', 'three']) {
    writeFileSync(at('profiles/word.yaml'), wordProfile(text))
    await must('build', 'word')
    await must('publish', 'word', '--to', place)
    await must('channel', 'word', '--to', place)
  }
  await must('publish', 'word', '--to', place, '--keep', '1')
  const shown = (await must('trust', 'show', '--to', place)) as { readonly signed: readonly string[] }
  assert.ok(shown.signed.length >= 3)
}

async function refuses({ say }: Project, place: string, message: RegExp): Promise<void> {
  const ran = await say('publish', 'word', '--to', place)
  assert.equal(ran.code, 1)
  assert.match(ran.stdout, /S5_FETCH_FAILED/)
  assert.match(ran.stdout, message)
  assert.match(ran.stdout, /docker login HOST/)
  assert.ok(!ran.stdout.includes('sesame') && !ran.stderr.includes('sesame'), 'no password is shown')
}

test('a registry with passwords: of the address, and of a login', async (t) => {
  const missing = ['docker-registry', 'perl'].find((tool) => findTool(tool) === undefined)
  if (missing !== undefined) return t.skip(`needs ${missing}`)
  using project = await openProject()
  const bcrypt = ['perl', '-e', 'print crypt($ARGV[0], q($2b$05$abcdefghijklmnopqrstuu))', PASSWORD]
  const { stdout } = await runTool(bcrypt)
  assert.match(stdout.toString(), /^\$2b\$05\$.{53}$/)
  writeFileSync(project.at('htpasswd'), `${USER}:${stdout.toString()}\n`)
  await using registry = await startRegistry(project.at('.'), [
    `auth: {htpasswd: {realm: words, path: ${project.at('htpasswd')}}}`,
  ])
  await refuses(project, `oci://${registry.host}/team/words`, /found 401/)
  await refuses(project, `oci://${USER}:sesame@${registry.host}/team/words`, /found 401/)
  await publishAll(project, `oci://${IN_ADDRESS}${registry.host}/team/words`)
  writeFileSync(
    project.at('docker/config.json'),
    JSON.stringify({ auths: { [registry.host]: { auth: PAIR } } }),
  )
  await project.must('trust', 'show', '--to', `oci://${registry.host}/team/words`)
})

test('a registry with tokens: each is asked for when it is wanted, with the password of a login', async (t) => {
  const missing = ['docker-registry', 'openssl'].find((tool) => findTool(tool) === undefined)
  if (missing !== undefined) return t.skip(`needs ${missing}`)
  using project = await openProject()
  const tokens = await startTokens(t, project.at('.'))
  await using registry = await startRegistry(project.at('.'), [
    `auth: {token: {realm: "${tokens.realm}", service: words, issuer: tokens, rootcertbundle: ${project.at('token.pem')}}}`,
  ])
  const place = `oci://${registry.host}/team/words`
  await refuses(project, place, /expected a token, found status 401/)
  writeFileSync(
    project.at('docker/config.json'),
    JSON.stringify({ auths: { [registry.host]: { auth: PAIR } } }),
  )
  await publishAll(project, place)
  assert.deepEqual(
    [...tokens.scopes].sort(),
    ['delete', 'pull', 'pull,push'].map((actions) => `repository:team/words:${actions}`),
  )
  writeFileSync(project.at('docker/config.json'), 'auths')
  const bad = await project.say('trust', 'show', '--to', place)
  assert.match(bad.stdout, /S5_USAGE.*config\.json: expected logins of registries, found no JSON/s)
})

/** A service that gives who knows the password what they ask for, signed with `token.pem`. */
async function startTokens(
  t: TestContext,
  folder: string,
): Promise<{ readonly realm: string; readonly scopes: ReadonlySet<string> }> {
  const made = ['-newkey', 'rsa:2048', '-nodes', '-keyout', 'token.key', '-out', 'token.pem', '-days', '2']
  await runTool(['openssl', 'req', '-x509', ...made, '-subj', '/CN=tokens'], { cwd: folder })
  const key = createPrivateKey(readFileSync(join(folder, 'token.key')))
  const certificate = new X509Certificate(readFileSync(join(folder, 'token.pem')))
  const header = { typ: 'JWT', alg: 'RS256', x5c: [certificate.raw.toString('base64')] }
  const scopes = new Set<string>()
  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://tokens')
    if (request.headers.authorization !== `Basic ${PAIR}`) return response.writeHead(401).end()
    const scope = searchParams.get('scope') ?? ''
    const [type = '', name = '', words = ''] = scope.split(':')
    // In no certain order.
    const actions = words.split(',').sort()
    scopes.add(`${type}:${name}:${actions.join(',')}`)
    const now = Math.floor(Date.now() / 1000)
    const claims = {
      iss: 'tokens',
      sub: USER,
      aud: searchParams.get('service'),
      ...{ exp: now + 300, nbf: now - 10, iat: now, jti: randomUUID() },
      access: [{ type, name, actions }],
    }
    const text = [header, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.')
    const signature = sign('RSA-SHA256', Buffer.from(text), key).toString('base64url')
    response.writeHead(200, { 'content-type': 'application/json' })
    return response.end(JSON.stringify({ token: `${text}.${signature}` }))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.after(() => server.close())
  return { realm: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`, scopes }
}
