/** The driver qemu with real guests: calls that are killed in the middle and said again. */
import { driverContract } from '../helpers/fd-contract.ts'
import { openToys } from '../helpers/fd-toys.ts'

driverContract('qemu', openToys, { tries: 2, killMs: [100], parts: ['killed'] })
