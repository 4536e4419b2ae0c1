/** The driver qemu with real guests: stale tokens, and a new base that does not boot. */
import { driverContract } from '../helpers/fd-contract.ts'
import { openToys } from '../helpers/fd-toys.ts'

driverContract('qemu', openToys, { tries: 2, killMs: [], parts: ['stale', 'fallback'] })
