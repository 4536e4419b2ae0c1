/** The report page: complete, safe to open, and nothing from elsewhere. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { renderReport } from '../../src/fleet/report.ts'
import { lead } from '../helpers/fr-page.ts'

test('the page names every guest once, with why, and where the rollout stopped', () => {
  const { html, status } = lead(3, 10, 60, () => 'sick')
  assert.equal(status.shown?.rollout.state, 'rolled-back')
  for (const { name } of status.groups.flatMap(({ guests }) => guests))
    assert.equal(html.split(`<td class="mono">${name}</td>`).length, 2, name)
  assert.match(
    html,
    /Stopped in canary-0<\/b>no guest of canary-0 came up; group-\d\d-\d+: not healthy on g2-new in 4 s: HTTP 500/,
  )
  assert.match(html, /not reached/)
  assert.match(html, /libssl3.*3\.0\.16-1~deb12u1/)
})

test('the page needs nothing from elsewhere, and says so to the browser', () => {
  const { html } = lead(2, 4, 20, () => 'none')
  assert.doesNotMatch(html, /<script|<link|<img|@import|url\(|https?:/)
  assert.match(html, /Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"/)
})

test('names and reasons are text, whatever stands in them', () => {
  const { html } = lead(1, 1, 1, () => 'none')
  assert.match(html, /0b6f &#60;&#38;&#62; store/)
  const hostile = renderReport({
    status: {
      groups: [
        {
          name: '<img src=x>',
          line: '"><script>',
          budget: 1,
          held: [],
          versions: [{ generation: '<b>', guests: 1 }],
          guests: [
            {
              name: "'><i>",
              state: 'steady',
              good: '<u>',
              want: '',
              wave: -1,
              standing: '',
              why: '</td><script>',
            },
          ],
        },
      ],
      rollouts: [],
    },
    madeAt: '</footer>',
    storeId: '<',
  })
  assert.doesNotMatch(hostile, /<script|<img|<i>|<u>|<b><|<\/footer><\/footer>/)
})

test('a thousand guests make a page of some hundred kilobytes, in groups that are closed', () => {
  const { html } = lead(20, 50, 40, () => 'none')
  assert.ok(html.length < 400_000, `${html.length} bytes`)
  assert.equal(html.split('<details class="card group">').length, 21)
})
