/** The `files:` of a profile: what each kind of entry may say, before sources are read in. */
import {
  integer,
  object,
  octalMode,
  oneOf,
  optional,
  refined,
  required,
  type Shape,
  string,
} from '../base/shape.ts'
import type { FileSpec, Where } from './profile.ts'
import { absolutePath, byteString, line, ownerName, text } from './shape-words.ts'

/** A file whose bytes may still stand in the project: `from` relative to the YAML file, '' when inline. */
export interface FileDraft {
  readonly spec: FileSpec
  readonly from: string
  /** False: the mode comes from the source, or from the type. */
  readonly modeGiven: boolean
  readonly where: Where
}

const USUAL_MODES = {
  file: 0o644,
  dir: 0o755,
  symlink: 0o777,
  char: 0o600,
  block: 0o600,
  fifo: 0o600,
} as const

export function fileEntry(): Shape<FileDraft> {
  const entry = object('a file such as {path: /etc/motd, content: hello}', {
    path: required(
      absolutePath({ top: true }),
      'Absolute path in the guest; / for a folder that is laid over everything.',
    ),
    content: optional(text('the text of the file'), undefined, 'Text of the file.'),
    from: optional(
      relativePath(),
      undefined,
      'File or whole folder to take, relative to this YAML file; executable files get mode 0755, others 0644.',
    ),
    link: optional(line('the target of a symlink'), undefined, 'Target of a symlink.'),
    type: optional(
      oneOf('dir', 'char', 'block', 'fifo'),
      undefined,
      'For what is neither a file nor a symlink.',
    ),
    mode: optional(octalMode(), undefined, 'Octal; default 0644 for files, 0755 for directories.'),
    owner: optional(ownerName(), 'root', 'User by name or number.'),
    group: optional(ownerName(), 'root', 'Group by name or number.'),
    capabilities: optional(
      line('capabilities such as cap_net_bind_service=ep'),
      '',
      'File capabilities as cap_from_text(3) reads them.',
    ),
    major: optional(integer(0, 4095), undefined, 'Major number of a device.'),
    minor: optional(integer(0, 1_048_575), undefined, 'Minor number of a device.'),
  })
  return refined(entry, (spec, node, to) => {
    const { path, content, from, link, mode, major, minor } = spec
    const kinds = ['content', 'from', 'link', 'type'] as const
    const given = kinds.filter((kind) => spec[kind] !== undefined)
    const reported = (message: string): undefined => to.report(node, message)
    if (given.length !== 1)
      return reported(
        `expected exactly one of content, from, link or type for ${path}, found ${given.join(' and ') || 'none'}`,
      )
    if (path === '/' && from === undefined) return reported('expected from: with a folder for the path /')
    const type = spec.type ?? (link === undefined ? 'file' : 'symlink')
    const device = type === 'char' || type === 'block'
    if (device && (major === undefined || minor === undefined))
      return reported(`expected major and minor for the device ${path}`)
    if (!device && (major !== undefined || minor !== undefined))
      return reported(`expected major and minor only for type char or block, found type ${type}`)
    if (type === 'symlink' && mode !== undefined) return reported(`a symlink has no mode: ${path}`)
    if (type !== 'file' && spec.capabilities !== '')
      return reported(`expected capabilities only on a file, found type ${type}`)
    const known: FileSpec = {
      path,
      type,
      content: byteString(content ?? ''),
      target: byteString(link ?? ''),
      mode: mode ?? USUAL_MODES[type],
      owner: spec.owner,
      group: spec.group,
      major: major ?? 0,
      minor: minor ?? 0,
      capabilities: spec.capabilities,
    }
    return {
      spec: known,
      from: from ?? '',
      modeGiven: mode !== undefined,
      where: { file: to.file, line: node.line, column: node.column },
    }
  })
}

function relativePath(): Shape<string> {
  return string({
    pattern: /^[^/\n][^\n]*$/,
    expected: 'a path relative to this YAML file',
  })
}
