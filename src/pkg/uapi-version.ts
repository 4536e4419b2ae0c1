/**
 * Order of image versions, as systemd-sysupdate and systemd-boot compare them.
 * @see UAPI.10 Version Format Specification
 */

const FOREIGN = /^[^A-Za-z0-9~^.-]+/

/**
 * @returns below 0 when `a` is older, 0 when both are one version
 * @example
 * compareUapiVersions('7~rc1', '7') // => -1
 * @example
 * compareUapiVersions('20261121.9', '20261121.10') // => -1
 */
export function compareUapiVersions(a: string, b: string): number {
  let [left, right] = [a, b]
  for (;;) {
    left = left.replace(FOREIGN, '')
    right = right.replace(FOREIGN, '')
    // Whoever has the sign alone is older.
    for (const sign of ['~', '', '-', '^', '.']) {
      if (sign === '') {
        if (left === '' || right === '') return Number(left !== '') - Number(right !== '')
        continue
      }
      const isLeft = left.startsWith(sign)
      const isRight = right.startsWith(sign)
      if (isLeft !== isRight) return isLeft ? -1 : 1
      if (isLeft) {
        left = left.slice(1)
        right = right.slice(1)
      }
    }
    const isNumber = /^[0-9]/.test(left) || /^[0-9]/.test(right)
    const segment = isNumber ? /^[0-9]*/ : /^[A-Za-z]*/
    const [one = '', other = ''] = [segment.exec(left)?.[0], segment.exec(right)?.[0]]
    const order = isNumber ? compareNumbers(one, other) : compareWords(one, other)
    if (order !== 0) return order
    left = left.slice(one.length)
    right = right.slice(other.length)
  }
}

/** A number is newer than none, which is how a word stands here. */
function compareNumbers(a: string, b: string): number {
  if ((a === '') !== (b === '')) return a === '' ? -1 : 1
  const [one, other] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')]
  return Math.sign(one.length - other.length) || compareWords(one, other)
}

/** ASCII letters by their codes; of two with one beginning the longer is newer. */
function compareWords(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}
