/** The driver qemu with real guests: a new base that does not boot. */
import { driverContract } from '../helpers/fd-contract.ts'
import { openToys } from '../helpers/fd-toys.ts'

driverContract('qemu', openToys, { tries: 1, killMs: [], parts: ['fallback'] })
