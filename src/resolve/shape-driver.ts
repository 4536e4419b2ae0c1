/** The `driver:` of a group: its kind, and the options that this kind has. Texts are templates. */
import {
  bytes,
  type Decoder,
  duration,
  list,
  object,
  oneOf,
  optional,
  required,
  type Shape,
  type Source,
  string,
} from '../base/shape.ts'
import type { DriverKind, Group } from './group.ts'
import { line } from './shape-words.ts'

interface Rooted {
  /** Folder with a folder for each guest; '' means `.stage5/guests` of the project. */
  readonly root: string
}

export interface DirOptions extends Rooted {
  readonly run: readonly string[]
  /** Bytes. */
  readonly writable: number
  readonly stopSeconds: number
}

export interface QemuOptions extends Rooted {
  /** Bytes; 0: what the profile says. */
  readonly memory: number
  readonly forward: readonly string[]
  readonly accel: 'auto' | 'kvm' | 'tcg'
  readonly append: readonly string[]
  readonly arguments: readonly string[]
  readonly stopSeconds: number
}

export interface LibvirtOptions extends Rooted {
  readonly connect: string
  /** Bytes; 0: what the profile says. */
  readonly memory: number
  readonly type: 'kvm' | 'qemu'
  readonly append: readonly string[]
  readonly interface: string
  readonly stopSeconds: number
}

export interface ExecOptions extends Rooted {
  readonly command: readonly string[]
  /** Seconds. */
  readonly timeout: number
}

export interface PullOptions {
  /** Folder of what guests said last; '' means `.stage5/reports` of the project. */
  readonly reports: string
  /** Seconds after which a report says nothing any more. */
  readonly silence: number
}

function argv(what: string): Shape<readonly string[]> {
  return list(line(`${what} or one of its arguments`))
}

const KIND = 'What runs the guests: dir, qemu, libvirt, exec or pull.'
const kind = <const K extends DriverKind>(name: K) => ({ kind: required(oneOf(name), KIND) })
const folder = line('a folder (absolute, or relative to the project)')

const dir: Shape<DirOptions & { kind: 'dir' }> = object('options of the driver dir', {
  ...kind('dir'),
  root: optional(folder, '', 'Folder with a folder for each guest; default: .stage5/guests of the project.'),
  run: optional(
    argv('the program'),
    [],
    'Program that runs in the root of the guest, kept running: {root} is where it is mounted. None: only the pointer moves.',
  ),
  writable: optional(bytes(), 64 * 2 ** 20, 'What a guest may write beside its data areas, in memory.'),
  stopSeconds: optional(duration(), 10, 'How long it may take to end.'),
})

const qemu: Shape<QemuOptions & { kind: 'qemu' }> = object('options of the driver qemu', {
  ...kind('qemu'),
  root: optional(folder, '', 'Folder with a folder for each guest; default: .stage5/guests of the project.'),
  memory: optional(bytes(), 0, 'Memory of a guest; default: what its profile says.'),
  forward: optional(
    list(line('HOST:GUEST such as "{index+8080}:80"')),
    [],
    'TCP ports of 127.0.0.1 that lead to ports of the guest.',
  ),
  accel: optional(oneOf('auto', 'kvm', 'tcg'), 'auto', 'kvm where it really runs, else tcg.'),
  append: optional(list(line('a word')), [], 'More words for the kernel command line.'),
  arguments: optional(argv('an option of QEMU'), [], 'Further arguments of QEMU.'),
  stopSeconds: optional(duration(), 20, 'How long a guest may take to power down.'),
})

const libvirt: Shape<LibvirtOptions & { kind: 'libvirt' }> = object('options of the driver libvirt', {
  ...kind('libvirt'),
  root: optional(folder, '', 'Folder with a folder for each guest; default: .stage5/guests of the project.'),
  connect: optional(line('an address of libvirt'), 'qemu:///system', 'As virsh --connect takes it.'),
  memory: optional(bytes(), 0, 'Memory of a guest; default: what its profile says.'),
  type: optional(oneOf('kvm', 'qemu'), 'kvm', 'Type of the domain; qemu: without KVM.'),
  append: optional(list(line('a word')), [], 'More words for the kernel command line.'),
  interface: optional(
    text('the <interface> element of libvirt'),
    '',
    'XML of its network cards; default: the network "default".',
  ),
  stopSeconds: optional(duration(), 30, 'How long a guest may take to power down.'),
})

const exec: Shape<ExecOptions & { kind: 'exec' }> = object('options of the driver exec', {
  ...kind('exec'),
  root: optional(folder, '', 'Folder with a folder for each guest; default: .stage5/guests of the project.'),
  command: required(
    argv('the program'),
    'Program and arguments; the action follows, the rest is JSON on its stdin.',
  ),
  timeout: optional(duration(), 300, 'How long one call may take.'),
})

const pull: Shape<PullOptions & { kind: 'pull' }> = object('options of the driver pull', {
  ...kind('pull'),
  reports: optional(
    folder,
    '',
    'Folder of `stage5 serve --reports`; default: .stage5/reports of the project.',
  ),
  silence: optional(duration(), 600, 'A guest that has not reported for so long is unknown.'),
})

const SHAPES = { dir, qemu, libvirt, exec, pull } as const

function text(expected: string): Shape<string> {
  return string({ expected, empty: true })
}

/** `driver: qemu`, or a map with `kind` and the options of that kind. */
export function driver(): Shape<Group['driver']> {
  const kinds = Object.keys(SHAPES) as DriverKind[]
  const known = oneOf(...kinds)
  const decode = (node: Source, to: Decoder): Group['driver'] | undefined => {
    const named =
      node.kind === 'map' ? node.members.find(({ key }) => key === 'kind')?.value : (node as Source)
    if (!named) return to.report(node, 'expected the key "kind": dir, qemu, libvirt, exec or pull')
    const chosen = known.decode(named, to)
    if (!chosen) return undefined
    const members = [{ key: 'kind', at: node, value: named }]
    const found = SHAPES[chosen].decode(node.kind === 'map' ? node : { ...node, kind: 'map', members }, to)
    if (!found) return undefined
    const options = Object.fromEntries(Object.entries(found).filter(([key]) => key !== 'kind'))
    return { kind: chosen, options }
  }
  return {
    expected: 'a driver such as qemu or {kind: dir, run: [...]}',
    schema: { anyOf: [known.schema, ...kinds.map((each) => SHAPES[each].schema)] },
    decode,
  }
}
