/** A thousand sparse data disks of 1 GiB from one template: `node data-disks.ts TEMPLATE FOLDER`. */
import { join } from 'node:path'
import { makeDisk } from '../../src/deploy/drivers/data.ts'
import { readSparse } from '../../src/deploy/sparse.ts'

const [template = '', folder = ''] = process.argv.slice(2)
const sparse = await readSparse(template)
const { signal } = new AbortController()
for (let number = 0; number < 1000; number++)
  await makeDisk(sparse, join(folder, `${number}.ext4`), undefined, signal)
