/** Every bundled profile of Debian packages: built from what others left in the store, and the same when built clean. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { archiveMissing, lendDownloads, runReal, type Workplace, workplace } from '../helpers/real.ts'

const skip = archiveMissing()
/** In this order each finds packages and blocks of those before it. */
const PROFILES = ['minimal', 'www-nginx', 'www-nginx@php']
let place: Workplace

before(() => {
  if (!skip) place = workplace()
})
after(() => place?.[Symbol.dispose]())

test('build --verify-incremental agrees for every bundled profile', { skip }, (t) => {
  const project = join(place.directory, 'project')
  const store = join(place.directory, 'store')
  const downloads = lendDownloads(store)
  for (const name of PROFILES) {
    const ran = runReal(place, { project, store, words: ['build', name, '--verify-incremental', '--json'] })
    assert.equal(ran.code, 0, `${name}: ${ran.stderr}`)
    const { verified } = JSON.parse(ran.stdout) as { verified: number }
    t.diagnostic(`${name}: ${verified} files`)
    // Image, initrd and kernel at least, besides the reports.
    assert.ok(verified >= 12, `${name}: ${verified}`)
  }
  downloads.takeBack()
})
