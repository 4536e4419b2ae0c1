/** The driver qemu with real guests: switched and rolled back. */
import { driverContract } from '../helpers/fd-contract.ts'
import { openToys } from '../helpers/fd-toys.ts'

driverContract('qemu', openToys, { tries: 1, killMs: [], parts: ['once'] })
