/** The report in a real browser: it is laid out, opens and closes, fits a phone, and shows no more colour than it should. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { inflateSync } from 'node:zlib'
import { findTool } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { lead } from '../helpers/fr-page.ts'

const run = promisify(execFile)
const PLAIN = ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--no-first-run']

async function browse(folder: string, page: string, ...words: readonly string[]): Promise<string> {
  const { stdout } = await run(
    'chromium',
    [...PLAIN, `--user-data-dir=${join(folder, 'profile')}`, ...words, `file://${page}`],
    { maxBuffer: 1 << 26 },
  )
  return stdout
}

function needsBrowser(t: TestContext): boolean {
  if (findTool('chromium') !== undefined) return true
  t.skip('needs chromium')
  return false
}

/** Measures in the browser: the page itself may run no script, so it stands in a frame of one that may. */
function measuring(html: string): string {
  const source = html.replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, '').replace(
    '</body>',
    `<script>
const box = (element) => element.getBoundingClientRect()
const first = document.querySelector('details.group:not([open])')
const before = first ? box(first).height : 0
if (first) first.open = true
const rows = first ? [...first.querySelectorAll('tr')].filter((row) => box(row).height > 0).length : 0
const wide = [...document.querySelectorAll('main *')].filter((one) => box(one).right > innerWidth + 1)
document.body.dataset.measured = JSON.stringify({
  overflow: document.documentElement.scrollWidth - innerWidth,
  wide: wide.slice(0, 3).map((one) => one.outerHTML.slice(0, 80)),
  groups: document.querySelectorAll('details.group').length,
  before, after: first ? box(first).height : 0, rows,
  ground: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.body).color,
})
</script></body>`,
  )
  assert.notEqual(source, html)
  return source
}

interface Measured {
  readonly overflow: number
  readonly wide: readonly string[]
  readonly groups: number
  readonly before: number
  readonly after: number
  readonly rows: number
  readonly ground: string
  readonly ink: string
}

async function measure(folder: string, html: string, ...words: readonly string[]): Promise<Measured> {
  const page = join(folder, 'measured.html')
  writeFileSync(page, measuring(html))
  const dom = await browse(folder, page, ...words, '--dump-dom')
  const found = /data-measured="([^"]*)"/.exec(dom)?.[1]
  assert.ok(found, dom.slice(0, 300))
  return JSON.parse(
    found.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&'),
  ) as Measured
}

test('a fleet of 1,000 guests is laid out, groups open, nothing is cut off', async (t) => {
  if (!needsBrowser(t)) return
  using folder = temporaryDirectory()
  const { html } = lead(20, 50, 40, () => 'none')
  const wide = await measure(folder.path, html, '--window-size=1200,900')
  assert.equal(wide.groups, 20)
  assert.ok(wide.before < 100 && wide.after > 1000, `${wide.before} to ${wide.after} pixels`)
  assert.equal(wide.rows, 51)
  assert.deepEqual([wide.overflow, wide.wide], [0, []])
  const phone = await measure(folder.path, html, '--window-size=500,900')
  assert.deepEqual([phone.overflow, phone.wide], [0, []])
})

test('a rollout that stopped is seen at a glance, in light and in dark', async (t) => {
  if (!needsBrowser(t)) return
  using folder = temporaryDirectory()
  const { html } = lead(4, 10, 60, () => 'sick')
  const page = join(folder.path, 'report.html')
  writeFileSync(page, html)
  for (const scheme of ['light', 'dark'] as const) {
    const png = join(folder.path, `${scheme}.png`)
    // 1 is light, 0 is dark (blink's PreferredColorScheme).
    const words = [
      `--blink-settings=preferredColorScheme=${scheme === 'light' ? 1 : 0}`,
      '--window-size=1000,700',
    ]
    await browse(folder.path, page, ...words, `--screenshot=${png}`)
    const { width, pixels } = readPng(readFileSync(png))
    const [red = 0, green = 0, blue = 0] = pixels.subarray(0, 3)
    const isDark = red + green + blue < 3 * 64
    assert.equal(isDark, scheme === 'dark', `the ground is rgb(${red}, ${green}, ${blue})`)
    let alarm = 0
    for (let at = 0; at < pixels.length; at += 3)
      if (
        (pixels[at] as number) > 180 &&
        (pixels[at + 1] as number) < 120 &&
        (pixels[at + 2] as number) < 120
      )
        alarm++
    assert.ok(alarm > 1000, `${alarm} pixels of ${pixels.length / 3} are red, ${width} wide`)
  }
})

/** PNG of 8 bits a channel without interlace, as browsers write screenshots (PNG specification, 9 and 11). */
function readPng(bytes: Buffer): { readonly width: number; readonly pixels: Uint8Array } {
  const width = bytes.readUInt32BE(16)
  const height = bytes.readUInt32BE(20)
  const channels = bytes[25] === 6 ? 4 : 3
  const parts: Buffer[] = []
  for (let at = 8; at < bytes.length; at += bytes.readUInt32BE(at) + 12)
    if (bytes.toString('latin1', at + 4, at + 8) === 'IDAT')
      parts.push(bytes.subarray(at + 8, at + 8 + bytes.readUInt32BE(at)))
  const data = inflateSync(Buffer.concat(parts))
  const stride = width * channels
  const lines = new Uint8Array(stride * height)
  for (let y = 0; y < height; y++) {
    const filter = data[y * (stride + 1)] as number
    for (let x = 0; x < stride; x++) {
      const left = x >= channels ? (lines[y * stride + x - channels] as number) : 0
      const up = y > 0 ? (lines[(y - 1) * stride + x] as number) : 0
      const corner = y > 0 && x >= channels ? (lines[(y - 1) * stride + x - channels] as number) : 0
      const predicted = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter] as number
      lines[y * stride + x] = (data[y * (stride + 1) + 1 + x] as number) + predicted
    }
  }
  const pixels = new Uint8Array(width * height * 3)
  for (let at = 0; at < width * height; at++)
    pixels.set(lines.subarray(at * channels, at * channels + 3), at * 3)
  return { width, pixels }
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)]
  return a <= b && a <= c ? left : b <= c ? up : corner
}
