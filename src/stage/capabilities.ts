/** File capabilities: from the writing of cap_from_text(3) to the value of the attribute security.capability. */
import { Stage5Error } from '../base/errors.ts'

/** In the order of linux/capability.h: the number of each is its index. */
const NAMES: readonly string[] = (
  'chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service ' +
  'net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin ' +
  'sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override ' +
  'mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore'
).split(' ')

const VFS_CAP_REVISION_2 = 0x02000000
const VFS_CAP_FLAGS_EFFECTIVE = 1

interface Sets {
  e: bigint
  i: bigint
  p: bigint
}

/**
 * The value of security.capability, as a byte string.
 *
 * “struct vfs_cap_data”: magic and the effective flag, then permitted and inheritable as two pairs of 32 bits, all
 * little-endian. The file has one effective bit, so effective must be nothing, or all that is permitted or inheritable.
 * @throws S5_STAGE_INVALID
 * @see capabilities(7), File capability versioning; cap_from_text(3)
 */
export function capabilityValue(text: string): string {
  const sets = parse(text)
  if (sets.e !== 0n && sets.e !== (sets.p | sets.i))
    throw bad(text, 'effective must be empty or equal to permitted and inheritable together')
  const bytes = Buffer.alloc(20)
  bytes.writeUInt32LE(VFS_CAP_REVISION_2 + (sets.e === 0n ? 0 : VFS_CAP_FLAGS_EFFECTIVE), 0)
  for (const half of [0, 1]) {
    bytes.writeUInt32LE(word(sets.p, half), 4 + 8 * half)
    bytes.writeUInt32LE(word(sets.i, half), 8 + 8 * half)
  }
  return bytes.toString('latin1')
}

function word(set: bigint, half: number): number {
  return Number((set >> BigInt(32 * half)) & 0xffffffffn)
}

function bad(text: string, why: string): Stage5Error {
  return new Stage5Error('S5_STAGE_INVALID', `files: capabilities ${JSON.stringify(text)}: ${why}`)
}

/** Clauses apply in turn: names, then actions; `=` first takes the names out of all sets. */
function parse(text: string): Sets {
  const sets: Sets = { e: 0n, i: 0n, p: 0n }
  const clauses = text.trim().split(/\s+/)
  if (text.trim() === '') throw bad(text, 'expected a clause such as cap_net_bind_service=ep')
  for (const clause of clauses) {
    const found = /^([a-z0-9_,]*)((?:[=+-][eip]*)+)$/i.exec(clause)
    if (!found)
      throw bad(text, `expected names and =, + or - with letters of e, i, p, found ${JSON.stringify(clause)}`)
    const [, names = '', actions = ''] = found
    if (names === '' && !actions.startsWith('=')) throw bad(text, 'only = may stand without names')
    const mask = names === '' ? ALL : maskOf(names, text)
    for (const [, operator, letters = ''] of actions.matchAll(/([=+-])([eip]*)/g)) {
      if (operator === '=') for (const set of ['e', 'i', 'p'] as const) sets[set] &= ~mask
      for (const set of letters as Iterable<'e' | 'i' | 'p'>)
        if (operator === '-') sets[set] &= ~mask
        else sets[set] |= mask
    }
  }
  return sets
}

const ALL = (1n << BigInt(NAMES.length)) - 1n

function maskOf(names: string, text: string): bigint {
  let mask = 0n
  for (const name of names.toLowerCase().split(',')) {
    const at = NAMES.indexOf(name.replace(/^cap_/, ''))
    if (name === 'all') mask |= ALL
    else if (at < 0) throw bad(text, `unknown capability ${JSON.stringify(name)}`)
    else mask |= 1n << BigInt(at)
  }
  return mask
}
