/** The boot tests of a profile: what is started, what must be seen on the console, over HTTP and of commands. */
import {
  bytes,
  duration,
  integer,
  list,
  object,
  oneOf,
  optional,
  refined,
  required,
  type Shape,
  shortOrLong,
  string,
} from '../base/shape.ts'
import { BOOT_WAYS, type CommandCheck, type GuestTest, type HttpCheck } from './profile.ts'
import { line, text, word } from './shape-words.ts'

const MIB = 1_048_576

function httpCheck(): Shape<HttpCheck> {
  return object('a check such as {port: 80, path: /, contains: hello}', {
    port: required(integer(1, 65_535), 'TCP port of the guest.'),
    path: optional(
      string({ pattern: /^\/[\x21-\x7e]*$/, expected: 'a path that begins with /' }),
      '/',
      'Path that is asked for.',
    ),
    status: optional(integer(100, 599), 200, 'Status that the answer must have; default 200.'),
    contains: optional(text('a text'), '', 'Text that must be in the answer.'),
  })
}

function commandCheck(): Shape<CommandCheck> {
  return object('a check such as {run: uname -m, expect: x86_64}', {
    run: required(line('a command line'), 'Command typed at the shell of the console.'),
    expect: optional(text('a text'), '', 'Text that must be in what it prints.'),
    status: optional(integer(0, 255), 0, 'Exit status that it must have; default 0.'),
  })
}

export function guestTest(): Shape<GuestTest> {
  const name = word('a name of a-z 0-9 . _ -')
  const long = object('a test such as {name: serves, http: [{port: 80}]}', {
    name: required(name, 'Name of the test.'),
    images: optional(
      list(oneOf(...BOOT_WAYS), String),
      ['kernel'],
      'Images that are started, one after the other; default: kernel (kernel, initrd and base).',
    ),
    firmware: optional(oneOf('bios', 'uefi'), 'bios', 'What starts a disk; default: bios.'),
    memory: optional(
      refined(bytes(), (size, node, to) =>
        size % MIB === 0 ? size / MIB : to.report(node, `expected whole mebibytes, found ${size} bytes`),
      ),
      0,
      'Memory of the guest; default: that of boot:.',
    ),
    timeout: optional(duration(), 0, 'How long each step may take; default: that of boot:.'),
    ready: optional(line('one line of text'), '', 'Console text that is waited for; default: that of boot:.'),
    http: optional(list(httpCheck()), [], 'Checks over HTTP, through a port of this machine.'),
    console: optional(list(commandCheck()), [], 'Commands at the shell of the console.'),
    expect: optional(
      oneOf('pass', 'fail'),
      'pass',
      'fail: a guest that reaches its ready line fails the test.',
    ),
    reason: optional(
      line('a text'),
      '',
      'With expect: fail, the text that must be in the reason on the console.',
    ),
  })
  return shortOrLong(
    refined(name, (given) => bootTest({ name: given })),
    refined(long, ({ timeout, ...rest }, node, to) => {
      if (rest.images.length === 0) return to.report(node, 'expected at least one image, found an empty list')
      if (rest.expect === 'fail' && rest.http.length + rest.console.length > 0)
        return to.report(node, 'a guest that must not come up cannot be asked: leave http and console out')
      if (rest.expect === 'pass' && rest.reason !== '')
        return to.report(node, 'reason belongs to expect: fail')
      return bootTest({ ...rest, timeoutSeconds: timeout })
    }),
  )
}

/** A boot test that asks for the ready line and nothing else, but for what is given. */
export function bootTest(given: Partial<GuestTest> & { readonly name: string }): GuestTest {
  return {
    images: ['kernel'],
    firmware: 'bios',
    memory: 0,
    timeoutSeconds: 0,
    ready: '',
    http: [],
    console: [],
    expect: 'pass',
    reason: '',
    ...given,
  }
}
