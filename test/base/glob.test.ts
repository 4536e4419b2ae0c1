/** The pattern language: every sentence of its definition, and its speed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compileGlobs } from '../../src/base/glob.ts'

const TABLE: readonly [pattern: string, path: string, matches: boolean][] = [
  ['/usr/include', 'usr/include', true],
  ['/usr/include', 'usr/include/a/b.h', true],
  ['/usr/include', 'usr/includes', false],
  ['/usr/include', 'opt/usr/include', false],
  ['/usr/include/', 'usr/include', false],
  ['/usr/include/', 'usr/include/stdio.h', true],
  ['/', 'anything/at/all', true],
  ['*.a', 'usr/lib/libc.a', true],
  ['*.a', 'usr/lib/x.a/y', false],
  ['*.a', 'usr/lib/libc.ab', false],
  ['test_*', 'lib/test_bpf.ko', true],
  ['test_*', 'lib/my_test_bpf.ko', false],
  ['copyright', 'usr/share/doc/x/copyright', true],
  ['copyright', 'usr/share/doc/x/copyrights', false],
  ['lib*.so', 'usr/lib/libz.so', true],
  ['lib*.so', 'usr/lib/libz.so.1', false],
  // as in INSTALL_MASK, a star crosses directories
  ['/usr/lib*/*/include', 'usr/lib/gcc/x86_64-linux-gnu/12/include/stddef.h', true],
  ['/usr/lib*/*/include', 'usr/lib/include', false],
  ['/usr/lib/gcc/**/include*', 'usr/lib/gcc/include-fixed/limits.h', true],
  ['/usr/lib/gcc/**/include*', 'usr/lib/gcc/a/b/include/x', true],
  ['/usr/lib/gcc/**/include*', 'usr/lib/gccinclude', false],
  ['**/__pycache__/*.pyc', '__pycache__/a.pyc', true],
  ['**/__pycache__/*.pyc', 'usr/x/__pycache__/a.pyc', true],
  ['**/__pycache__/*.pyc', 'usr/x__pycache__/a.pyc', false],
  ['share/doc', 'usr/local/share/doc/x', true],
  ['share/doc', 'usr/local/sharex/doc', false],
  ['/usr/share/{info,doc,gtk-doc}', 'usr/share/gtk-doc/x', true],
  ['/usr/share/{info,doc,gtk-doc}', 'usr/share/document', false],
  ['*.{h,{hp,hx}p}', 'a/b.hxp', true],
  ['*.{h,{hp,hx}p}', 'a/b.hp', false],
  ['{a,b/c}', 'x/a/y', true],
  ['{a,b/c}', 'x/b/c', true],
  ['/{,usr/}lib/x', 'lib/x', true],
  ['/{,usr/}lib/x', 'usr/lib/x/y', true],
  ['{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}', 'babbaba', true],
  ['{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}', 'babbabc', false],
  ['{[,],b}', ',', true],
  ['{[,],b}', '[', false],
  ['{a}', 'a', true],
  ['a{b', 'x/a{b', true],
  ['a{b{c,d}', 'a{bd', true],
  ['a}b,c', 'x/a}b,c', true],
  ['lib[a-c]?', 'libb1', true],
  ['lib[a-c]?', 'libd1', false],
  ['lib[!a-c]', 'libd', true],
  ['lib[!a-c]', 'liba', false],
  ['x[]]', 'x]', true],
  ['x[', 'x[', true],
  ['x[z-a]', 'xm', false],
  ['a.b', 'axb', false],
  ['a+(b)$', 'a+(b)$', true],
  ['x\\', 'x\\', true],
  ['/a/*/new', 'a/line\nbreak/new', true],
  ['/grün', 'gr\xc3\xbcn', true],
]

test('each pattern matches what its definition says', () => {
  for (const [pattern, path, expected] of TABLE)
    assert.equal(compileGlobs([pattern]).matches(path), expected, `${pattern} on ${path}`)
})

test('the later pattern wins, and a leading minus takes back', () => {
  const globs = compileGlobs(['/usr/lib*/*/include', '-/usr/lib*/modules/*/include', 'stddef.h'])
  assert.equal(globs.matches('usr/lib/gcc/12/include/limits.h'), true)
  assert.equal(globs.matches('usr/lib/modules/6.1/include/limits.h'), false)
  assert.equal(globs.matches('usr/lib/modules/6.1/include/stddef.h'), true)
  assert.equal(compileGlobs(['-*.a', '*.a']).matches('x.a'), true)
  assert.equal(compileGlobs(['*.a', '-*.a']).matches('x.a'), false)
})

test('the deciding pattern is the last that matches', () => {
  const globs = compileGlobs(['*', '/a', '/a/b*', '-c', 'nothing'])
  assert.equal(globs.deciding('x'), 0)
  assert.equal(globs.deciding('a/x'), 1)
  assert.equal(globs.deciding('a/bcd/x'), 2)
  assert.equal(globs.deciding('a/b/c'), 3)
  assert.equal(compileGlobs(['nothing']).deciding('a'), -1)
  assert.equal(compileGlobs([]).matches('a'), false)
})

test('a list decides as its patterns do one by one', () => {
  const piece = fc.constantFrom('a', 'b', '*', '?', '/', '**/', '{a,b}', '[ab]')
  const pattern = fc.tuple(
    fc.constantFrom('', '-', '/', '-/'),
    fc.array(piece, { minLength: 1, maxLength: 5 }),
  )
  const path = fc.array(fc.constantFrom('a', 'b', 'ab', 'ba'), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 6 }), path, (made, parts) => {
      const patterns = made.map(([prefix, pieces]) => prefix + pieces.join(''))
      const name = parts.join('/')
      let expected = -1
      patterns.forEach((one, index) => {
        if (compileGlobs([one]).deciding(name) === 0) expected = index
      })
      assert.equal(compileGlobs(patterns).deciding(name), expected)
    }),
  )
})

test('any text is a pattern', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (pattern, path) => {
      assert.equal(typeof compileGlobs([pattern]).matches(path), 'boolean')
    }),
  )
})

test('200 patterns over 37 k paths are a matter of milliseconds', () => {
  const patterns: string[] = []
  for (let at = 0; at < 50; at++)
    patterns.push(`/usr/share/d${at}`, `*.ext${at}`, `/usr/lib*/*/include${at}`, `-/usr/share/{d${at},e}/k*`)
  const paths = Array.from(
    { length: 37_000 },
    (_, at) => `usr/${at % 2 === 0 ? 'share' : 'lib64'}/d${at % 90}/sub${at % 7}/file${at}.ext${at % 300}`,
  )
  const globs = compileGlobs(patterns)
  // processor time: other tests and other people's programs run at the same time
  const before = process.cpuUsage()
  let hits = 0
  for (const path of paths) if (globs.matches(path)) hits++
  const { user } = process.cpuUsage(before)
  assert.ok(hits > 5000 && hits < 30_000, String(hits))
  assert.ok(user < 1_000_000, `took ${user} µs`)
})
