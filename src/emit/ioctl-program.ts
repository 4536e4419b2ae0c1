/**
 * `ioctl DEVICE <REQUEST`: a static program of some 200 bytes for the initramfs, which asks the kernel for one ioctl.
 *
 * busybox has no way to create a device-mapper device, Debian's kernel has no dm-mod.create=, and dmsetup with its
 * libraries would add 4 MiB to an initramfs of 1 MiB. So the init script writes the request and this program hands it
 * over. Standard input is the request number as 8 bytes, little-endian, and the argument, at most 4088 bytes. The exit
 * status is 0, or errno of what failed.
 */
import { Stage5Error } from '../base/errors.ts'

/** Machine code with what each instruction does; `objdump -d` is the witness (test/oracle/verity.test.ts). */
type Assembly = readonly (readonly [hex: string, meaning: string])[]

const AMD64: Assembly = [
  ['48 8b 7c 24 10', 'mov rdi, [rsp+16]: argv[1]'],
  ['be 02 00 00 00', 'mov esi, O_RDWR'],
  ['b8 02 00 00 00', 'mov eax, open'],
  ['0f 05', 'syscall'],
  ['85 c0', 'test eax, eax'],
  ['78 33', 'js end'],
  ['89 c3', 'mov ebx, eax'],
  ['48 81 ec 00 10 00 00', 'sub rsp, 4096'],
  ['31 ff', 'xor edi, edi: standard input'],
  ['48 89 e6', 'mov rsi, rsp'],
  ['ba 00 10 00 00', 'mov edx, 4096'],
  ['31 c0', 'xor eax, eax: read'],
  ['0f 05', 'syscall'],
  ['85 c0', 'test eax, eax'],
  ['78 18', 'js end'],
  ['89 df', 'mov edi, ebx'],
  ['48 8b 34 24', 'mov rsi, [rsp]: the request'],
  ['48 8d 54 24 08', 'lea rdx, [rsp+8]: its argument'],
  ['b8 10 00 00 00', 'mov eax, ioctl'],
  ['0f 05', 'syscall'],
  ['85 c0', 'test eax, eax'],
  ['78 02', 'js end'],
  ['31 c0', 'xor eax, eax'],
  ['f7 d8', 'end: neg eax'],
  ['89 c7', 'mov edi, eax'],
  ['b8 3c 00 00 00', 'mov eax, exit'],
  ['0f 05', 'syscall'],
]

const ARM64: Assembly = [
  ['60 0c 80 92', 'mov x0, #-100: AT_FDCWD'],
  ['e1 0b 40 f9', 'ldr x1, [sp, #16]: argv[1]'],
  ['42 00 80 d2', 'mov x2, O_RDWR'],
  ['08 07 80 d2', 'mov x8, openat'],
  ['01 00 00 d4', 'svc #0'],
  ['00 02 f8 b7', 'tbnz x0, #63, end'],
  ['f3 03 00 aa', 'mov x19, x0'],
  ['ff 07 40 d1', 'sub sp, sp, #4096'],
  ['00 00 80 d2', 'mov x0, #0: standard input'],
  ['e1 03 00 91', 'mov x1, sp'],
  ['02 00 82 d2', 'mov x2, #4096'],
  ['e8 07 80 d2', 'mov x8, read'],
  ['01 00 00 d4', 'svc #0'],
  ['00 01 f8 b7', 'tbnz x0, #63, end'],
  ['e0 03 13 aa', 'mov x0, x19'],
  ['e1 03 40 f9', 'ldr x1, [sp]: the request'],
  ['e2 23 00 91', 'add x2, sp, #8: its argument'],
  ['a8 03 80 d2', 'mov x8, ioctl'],
  ['01 00 00 d4', 'svc #0'],
  ['40 00 f8 b7', 'tbnz x0, #63, end'],
  ['00 00 80 d2', 'mov x0, #0'],
  ['e0 03 00 cb', 'end: neg x0, x0'],
  ['a8 0b 80 d2', 'mov x8, exit'],
  ['01 00 00 d4', 'svc #0'],
]

/** e_machine and code. */
const PROGRAMS: { readonly [arch: string]: readonly [machine: number, code: Assembly] } = {
  amd64: [62, AMD64],
  arm64: [183, ARM64],
}

const HEADERS = 64 + 56
const ADDRESS = 0x400000

/**
 * The whole program, an ELF file with one segment that is not writable.
 * @param arch in Debian's words
 * @throws S5_IMAGE_INPUT for an architecture that it is not written for
 */
export function ioctlProgram(arch: string): Uint8Array {
  const found = PROGRAMS[arch]
  if (!found)
    throw new Stage5Error(
      'S5_IMAGE_INPUT',
      `initramfs: expected an architecture of ${Object.keys(PROGRAMS).join(', ')} for verity, found ${arch}`,
    )
  const [machine, assembly] = found
  const code = Buffer.from(assembly.map(([hex]) => hex.replaceAll(' ', '')).join(''), 'hex')
  const size = HEADERS + code.length
  const head = Buffer.alloc(HEADERS)
  head.write('\x7fELF\x02\x01\x01', 'latin1') // EI_CLASS 64, EI_DATA little-endian, EI_VERSION 1
  head.writeUInt16LE(2, 16) // e_type ET_EXEC
  head.writeUInt16LE(machine, 18)
  head.writeUInt32LE(1, 20) // e_version
  head.writeBigUInt64LE(BigInt(ADDRESS + HEADERS), 24) // e_entry
  head.writeBigUInt64LE(64n, 32) // e_phoff
  head.writeUInt16LE(64, 52) // e_ehsize
  head.writeUInt16LE(56, 54) // e_phentsize
  head.writeUInt16LE(1, 56) // e_phnum
  head.writeUInt16LE(64, 58) // e_shentsize
  head.writeUInt32LE(1, 64) // p_type PT_LOAD
  head.writeUInt32LE(5, 68) // p_flags read, execute
  head.writeBigUInt64LE(BigInt(ADDRESS), 80) // p_vaddr
  head.writeBigUInt64LE(BigInt(ADDRESS), 88) // p_paddr
  head.writeBigUInt64LE(BigInt(size), 96) // p_filesz
  head.writeBigUInt64LE(BigInt(size), 104) // p_memsz
  head.writeBigUInt64LE(0x10000n, 112) // p_align: the largest page of arm64
  return Buffer.concat([head, code])
}
