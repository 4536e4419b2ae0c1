/** Extensions: which part of a root goes in, and for which hosts it says it is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/base/digest.ts'
import { isStage5Error } from '../../src/base/errors.ts'
import { type ExtensionOptions, extensionTree } from '../../src/emit/extension.ts'
import { treeProblems } from '../../src/tree/check.ts'
import { type Entry, lookup, type Tree, treeOf } from '../../src/tree/tree.ts'

const META = { mode: 0o644, uid: 0, gid: 0, mtime: 7 }

function file(path: string, text: string): Entry {
  return { path, owner: 'p', inode: { type: 'file', ...META, size: text.length, content: digestOf(text) } }
}

const ROOT = treeOf([
  file('usr/bin/tool', 'tool'),
  file('usr/lib/os-release', 'ID=debian'),
  file('usr/lib/libc.so', 'libc'),
  file('usr/lib/extension-release.d/extension-release.old', 'old'),
  file('opt/app/run', 'run'),
  file('etc/tool.conf', 'conf'),
  file('etc/os-release', 'ID=debian'),
  file('var/lib/x', 'x'),
])

const OPTIONS: ExtensionOptions = {
  kind: 'sysext',
  name: 'tools',
  arch: 'amd64',
  version: '5',
  os: 'debian',
  osVersion: '12',
  osLevel: '',
  date: 99,
}

async function make(
  options: Partial<ExtensionOptions>,
  root = ROOT,
): Promise<{ tree: Tree; release: string }> {
  const written: string[] = []
  const contents = {
    read: () => Promise.reject(new Error('nothing is read')),
    write: async (bytes: Uint8Array) => {
      written.push(Buffer.from(bytes).toString())
      return digestOf(bytes)
    },
  }
  const tree = await extensionTree(root, contents as never, { ...OPTIONS, ...options })
  assert.deepEqual(treeProblems(tree), [])
  return { tree, release: written.join('') }
}

function files(tree: Tree): string[] {
  return tree.names.filter(({ inode }) => tree.inodes[inode]?.type === 'file').map(({ path }) => path)
}

test('a sysext is /usr and /opt without any os-release, and names its hosts', async () => {
  const { tree, release } = await make({})
  assert.deepEqual(files(tree), [
    'opt/app/run',
    'usr/bin/tool',
    'usr/lib/extension-release.d/extension-release.tools',
    'usr/lib/libc.so',
  ])
  assert.equal(
    release,
    'ID=debian\nVERSION_ID=12\nARCHITECTURE=x86-64\nSYSEXT_ID=tools\nSYSEXT_VERSION_ID=5\n',
  )
  assert.equal(lookup(tree, 'usr/lib/extension-release.d')?.inode.mtime, 99)
})

test('a confext is /etc; levels and _any replace the version', async () => {
  const { tree, release } = await make({ kind: 'confext', osLevel: '2', osVersion: '' })
  assert.deepEqual(files(tree), ['etc/extension-release.d/extension-release.tools', 'etc/tool.conf'])
  assert.match(release, /^ID=debian\nCONFEXT_LEVEL=2\nARCHITECTURE=x86-64\nCONFEXT_ID=tools\n/)
  assert.match((await make({ os: '_any', arch: 'arm64' })).release, /^ID=_any\nARCHITECTURE=arm64\n/)
})

test('what the extended root has already is left out, and what differs stays', async () => {
  const over = treeOf([
    { ...file('usr/lib/libc.so', 'libc'), owner: 'q' },
    file('usr/bin/tool', 'older'),
    { ...file('opt/app/run', 'run'), inode: { ...file('opt/app/run', 'run').inode, mode: 0o755 } },
  ])
  assert.deepEqual(files((await make({ over })).tree), [
    'opt/app/run',
    'usr/bin/tool',
    'usr/lib/extension-release.d/extension-release.tools',
  ])
})

test('an extension of nothing is refused', async () => {
  const refused = (error: unknown): boolean =>
    isStage5Error(error, 'S5_IMAGE_INPUT') && /nothing is left/.test(error.message)
  await assert.rejects(make({ over: ROOT }), refused)
  await assert.rejects(make({}, treeOf([file('etc/x', 'x')])), refused)
})
