/**
 * Every error code, with the sentence that sums it up and the few that say what it means and what to do, which
 * `stage5 explain CODE` prints.
 *
 * Codes are permanent: once released, a code keeps its meaning. `S5_NOUN_PROBLEM`, in alphabetical order.
 */
export const CODES = {
  S5_ARCHIVE_REFUSED: {
    summary: 'A package or archive is malformed or unsafe and was not unpacked.',
    help: 'The word after the file name is the reason. Nothing was written outside the store and nothing of the package was kept. Fetch the package again; if it still fails, the archive itself is bad: tell whoever built it. Names are shown escaped.',
  },
  S5_ATOM_SYNTAX: {
    summary: 'A package or a dependency is not written as its scheme demands.',
    help: 'Debian: `nginx`, `libc6 (>= 2.36)`, `libc6>=2.36`. Native packages: `app/shop`, `app/shop ^2.1`, flags in brackets as in `app/shop[ssl,-ldap]`, a build as `#3`. A native package names a Debian one with `deb:` in front. Gentoo: `net-misc/curl`, `>=dev-lang/php-8.3:8.3[fpm,-apache2]`; a version needs an operator in front of the whole.',
  },
  S5_BUDGET_EXCEEDED: {
    summary: 'An output is larger than the profile allows.',
    help: 'The message has the size, the limit of `budget:` in the profile, and the packages that take most of the root (before compression). Nothing was left in out/. Take packages out, strip more, or raise the limit.',
  },
  S5_BUILD_DIFFERS: {
    summary: 'A build that used what was remembered came to other bytes than a clean one.',
    help: 'Found by `stage5 build --verify-incremental`. The message has the first file that differs; the clean build is kept for a comparison. Either something in the store is damaged (`stage5 store verify` tells), or stage5 has a defect: an input that a key of its cache does not name. Please report it, with both outputs. Until then, build with an empty store: STAGE5_STORE=/tmp/clean stage5 build PROFILE.',
  },
  S5_CHECK_FAILED: {
    summary: 'Something in the composed root needs a file that is not there.',
    help: 'After stripping, every ELF dependency, interpreter, #! line and symlink must resolve. Each finding names the file, its owner and the rule that removed what it needs. Add a package, keep the file with `strip: {keep: [...]}`, or allow the finding with a reason under `allow:`.',
  },
  S5_COLLISION: {
    summary: 'Two packages bring different content for one path.',
    help: 'Both owners are named. Decide in the profile with `collisions: [{path: ..., owner: ...}]`, or drop one of the packages.',
  },
  S5_CONFIG_INVALID: {
    summary: 'What was given is no config package or seed.',
    help: 'A config package is made of a folder with `root/` (files that are laid over the guest) and `apply` (a shell script that runs in the guest after that), at least one of them and nothing else. A seed is a text file with words of the kernel command line: `stage5.ip=10.0.0.7/24 stage5.gateway=10.0.0.1 stage5.dns=10.0.0.1 stage5.hostname=web7 stage5.config=http://10.0.0.1/site.tar.gz`.',
  },
  S5_DELTA_BASE: {
    summary: 'A delta was made for another image than the one it was to be applied to.',
    help: 'The message has the digest that the delta begins at and the one that was found. Nothing was written. Use the image that the delta was made from, or fetch the new image whole.',
  },
  S5_DIGEST_MISMATCH: {
    summary: 'Fetched or stored bytes do not have the recorded digest.',
    help: 'A download was damaged or changed underneath. Run the command again; if the mismatch stays, the mirror serves other bytes than its index promises. For an object of the store, run `stage5 store verify`.',
  },
  S5_DIGEST_SYNTAX: {
    summary: 'A digest is not written as sha256: and 64 hex digits.',
    help: 'Write digests as they are printed: `sha256:` and 64 lower-case hex digits.',
  },
  S5_DIRECTORY_EXISTS: {
    summary: 'A directory was to be made where something stands already.',
    help: 'stage5 never writes into an existing directory: half of two things would be there. Name another one, or remove it.',
  },
  S5_DISK_FAILED: {
    summary: 'The system refused to read or write a file.',
    help: 'The message has the file and what the system said. EIO is a failing disk, EROFS a file system that is mounted read-only, EACCES missing rights, EMFILE too few file descriptors (`ulimit -n`). Nothing was left half written; run the same command again when the cause is gone.',
  },
  S5_DISK_FULL: {
    summary: 'There is no space left where stage5 wanted to write.',
    help: 'Nothing was left half written. Free some space, or point STAGE5_STORE or --out to another file system, and run the same command again.',
  },
  S5_DRIVER_NONE: {
    summary: 'The guests of this group are not run from here.',
    help: 'With `driver: pull` guests follow what is published and switch themselves. To run or switch guests from this host, give their group the driver qemu, dir, libvirt or exec.',
  },
  S5_ENGINE_COMPACTED: {
    summary: 'The history that a watch was to continue from is no longer kept.',
    help: 'Nothing is lost but time: what is watched must be listed again and watched from there, as stage5 does by itself. For etcd, keep at least an hour of revisions: `etcd --auto-compaction-retention=1h`.',
  },
  S5_ENGINE_OTHER: {
    summary: 'The state of the fleet is kept in another place than the one that was seen before.',
    help: 'Each store of a fleet has an id, made once. Two stores for one fleet would let both give away the same slots. The message has both ids: check --engine, and the endpoints behind it. When the fleet was moved deliberately, delete the file that the message names, or give the new id with --store-id.',
  },
  S5_ENGINE_REFUSED: {
    summary: 'The store of the fleet refused a request.',
    help: 'The message has what it said. Wrong user or password, a certificate that does not fit, a full database (etcd: compact, defragment, then `etcdctl alarm disarm`) and a document that is too large are the usual reasons. Nothing was changed.',
  },
  S5_ENGINE_UNAVAILABLE: {
    summary: 'The store of the fleet does not answer.',
    help: 'The message says whether the request was sent: if it was, its outcome is unknown, and stage5 reads again before it decides. Guests keep running; nothing is granted and nothing released until the store answers. For etcd, look at `etcdctl endpoint health`: a majority of the members must be up.',
  },
  S5_FETCH_FAILED: {
    summary: 'A file could not be downloaded.',
    help: 'The address, the status and the number of attempts are in the message. Check the network and the proxy settings (HTTP_PROXY, HTTPS_PROXY, NO_PROXY). With --offline only what was fetched before is used.',
  },
  S5_FETCH_TOO_LARGE: {
    summary: 'A download is larger than was announced or allowed.',
    help: 'The transfer was stopped at the limit. The index may be stale: run `stage5 lock` again.',
  },
  S5_FILE_FORBIDDEN: {
    summary: 'The system does not let stage5 read or write a file.',
    help: 'The path is in the message. Check its owner and mode, or point -C, --out or STAGE5_STORE somewhere else. stage5 needs no root.',
  },
  S5_FILE_MISSING: {
    summary: 'A file that the profile or the command names does not exist.',
    help: 'Paths in a profile are relative to the file that names them. Check the spelling.',
  },
  S5_FORMAT_UNKNOWN: {
    summary: 'The profile asks for an image format that this version does not know.',
    help: 'The known formats are in the message; `stage5 --version` tells which version this is.',
  },
  S5_GENERATION_PINNED: {
    summary: 'A build would replace the output of a pinned generation.',
    help: 'Output folders are named by their version. A profile that sets `version:` itself can come to other bytes under the same one, and those would take the place of what was pinned. Raise the version in the profile, leave it out so that stage5 makes one of the inputs, or unpin the generation. Nothing was changed.',
  },
  S5_GENERATION_UNKNOWN: {
    summary: 'The words name no generation, or more than one.',
    help: '`stage5 generations` lists them. A generation is named by its line (a profile; the newest is meant), LINE/latest, LINE/g3, LINE/VERSION, the beginning of its own name such as g3-0a1b2c, a version, or its output folder. `stage5 build` adds one.',
  },
  S5_GROUP_UNKNOWN: {
    summary: 'There is no group of that name.',
    help: 'Groups are the YAML files of the folder `groups/`, or of the one that --groups names. `stage5 group list` shows them.',
  },
  S5_GUEST_OFF: {
    summary: 'The guest is not running, or shows no console.',
    help: '`stage5 guest start NAME` starts it; `stage5 guest log NAME` shows what its console said since the last start. Guests of the driver dir have a log, but no console to type on.',
  },
  S5_GUEST_RUNNING: {
    summary: 'The guest must be off for what was asked.',
    help: 'A disk that a guest has mounted cannot be changed from outside without damage. `stage5 guest stop NAME`, then the same command, then `stage5 guest start NAME`.',
  },
  S5_GUEST_TWICE: {
    summary: 'A guest is in two groups.',
    help: 'A group is what shares one budget of guests that may be away, so a guest is in exactly one. Both places are in the message: take the guest out of one of them. Names are unique in the whole fleet.',
  },
  S5_GUEST_UNKNOWN: {
    summary: 'There is no guest of that name, or it has not been made yet.',
    help: 'Guests are what the groups name: `stage5 guest list` shows them. A guest that was never started has no folder yet: `stage5 guest start NAME`.',
  },
  S5_IMAGE_INPUT: {
    summary: 'The root cannot be expressed in the image format that was asked for.',
    help: 'The message names the path and the limit of the format. Another format may carry it.',
  },
  S5_INDEX_REFUSED: {
    summary: 'A repository index is malformed, stale or older than the last one accepted.',
    help: 'The word after the repository name is the reason. For `stale`, the mirror is not being updated or this clock is wrong; `checkValidUntil: false` (of a Gentoo binhost `checkTimestamp: false`) in the repository file accepts it knowingly. For `rollback`, the mirror went back in time.',
  },
  S5_KERNEL_MISSING: {
    summary: 'The profile wants a kernel, but no package of the lock has one.',
    help: 'Name a kernel package in `packages:` (on Debian for example linux-image-cloud-amd64), or set `kernel: none`.',
  },
  S5_KEY_EXISTS: {
    summary: 'There is a key of this name already.',
    help: 'Keys are never written over: what they signed could never be signed again. Choose another name, or move the old files away.',
  },
  S5_KEY_INVALID: {
    summary: 'A file is not the signing key that was expected.',
    help: 'Keys are Ed25519 in PEM files, as `stage5 key new NAME` and `openssl genpkey -algorithm ed25519` make them. A private key must be readable by its owner alone (chmod 600); a public key is the .pub file.',
  },
  S5_LEADER_LOST: {
    summary: 'This process was the leader and no longer is.',
    help: 'It could not renew its lease in time: it was paused, or the store did not answer. Another process goes on from the state in the store; what this one still tries to write is refused there. Start it again to have a stand-by.',
  },
  S5_LOCK_BUSY: {
    summary: 'Another stage5 process holds a lock that this command needs.',
    help: 'Wait for the other command to end. The lock is released by the system when its holder dies; there is nothing to delete by hand.',
  },
  S5_LOCK_MISSING: {
    summary: 'There is no lock file for this profile.',
    help: 'Run `stage5 lock PROFILE` first; it writes PROFILE.lock.yaml beside the profile. Commit it: it says exactly which packages the guests get.',
  },
  S5_LOCK_STALE: {
    summary: 'The lock file was made for another state of the profile.',
    help: 'The profile (or a parent, a repository or a stage file) changed since. Run `stage5 lock PROFILE` and look at the difference.',
  },
  S5_LOCK_SYNTAX: {
    summary: 'A lock file cannot be read.',
    help: 'Lock files are written by stage5; undo the edit or run `stage5 lock PROFILE` again.',
  },
  S5_MEMORY_SHORT: {
    summary: 'Guests would not come up with the memory that the profile gives them.',
    help: 'The message has the arithmetic for each way of starting: a base in the initrd stands twice in memory while the kernel unpacks it, and with a tmpfs rootfs it must fit into half of what is left. `stage5 plan` compares the ways. Make the base smaller, boot from a disk, use `boot: overlay`, or raise `memory:`.',
  },
  S5_MERGE_TYPE: {
    summary: 'One package has a directory where another has something else.',
    help: 'Both owners are named. A symlink to a directory is followed inside the root; anything else must be decided in the profile.',
  },
  S5_METADATA_REFUSED: {
    summary: 'Signed metadata of what is published was not believed.',
    help: 'The word after the file name says why: malformed, unsigned (too few of the keys of its role signed it as it is), rollback (older than what was seen before), expired, or mismatch (not the file that other signed metadata names). Nothing of it was used. Guests stay on what they run. Expired metadata is signed anew by `stage5 trust refresh`; for the others look for who wrote to the server.',
  },
  S5_MODULE_MISSING: {
    summary:
      'A kernel module that the guest needs is neither in the kernel package nor built into the kernel.',
    help: 'Check the spelling of `kernel: {modules: [...]}`. Cloud kernels leave out many drivers: another kernel package of the same repository may have the module.',
  },
  S5_NOT_BOOTED: {
    summary: 'The guest did not reach its ready line in time.',
    help: 'The last console lines are printed. Try `--timeout`, more `--memory`, or boot with the console attached (`stage5 boot PROFILE`).',
  },
  S5_NO_SOLUTION: {
    summary: 'No set of packages satisfies the profile.',
    help: 'The explanation is a chain of facts that ends in something you wrote. Change one of them: a version, a USE flag, a mask, or a package. `stage5 why-not PROFILE PACKAGE` says why one package is out.',
  },
  S5_OFFLINE: {
    summary: 'Something is needed that was never fetched, and --offline was given.',
    help: 'Run the same command once without --offline.',
  },
  S5_OUTPUT_MISSING: {
    summary: 'There is no output of this profile yet.',
    help: 'Run `stage5 build PROFILE` first.',
  },
  S5_PACKAGE_INVALID: {
    summary: 'What a package shall be called or need cannot be.',
    help: 'A name is category/name in lower case, a version is semantic (1.2.3), flags are words such as "ssl -ldap", and dependencies are atoms: `app/lib ^1.2 [ssl]`, or `deb:libssl3 (>= 3.0)` for a Debian package. With --format gpkg versions, slots, flags and dependencies are those of ebuilds (PMS).',
  },
  S5_PACKAGE_UNKNOWN: {
    summary: 'No repository of the profile has a package of this name.',
    help: 'The nearest names are in the message. Check the spelling, the `repositories:` list and the architecture.',
  },
  S5_PROFILE_CYCLE: {
    summary: 'A profile is its own parent.',
    help: 'The chain is in the message. Remove one of the links.',
  },
  S5_PROFILE_INVALID: {
    summary: 'A YAML file says something that stage5 does not understand.',
    help: 'The message gives file, line and column, what was expected and the nearest valid key. The bundled files name their JSON Schema in the first line, so that an editor can complete keys.',
  },
  S5_PROFILE_UNKNOWN: {
    summary: 'There is no profile of this name.',
    help: 'Profiles are the YAML files of the folder `profiles/`; the nearest names are in the message. Variants are written PROFILE@VARIANT.',
  },
  S5_PROTECTION_UNSUPPORTED: {
    summary: 'The file system or the rights of this process do not offer the protection that was asked for.',
    help: 'reflink needs btrfs or XFS (with reflink=1) and the store on the same file system; bind needs root; verity needs a file system made with verity and a kernel that has it. `--copy` works everywhere: the root shares no file with others.',
  },
  S5_PUBLISH_REFUSED: {
    summary: 'A generation cannot be published, or a channel cannot point to it.',
    help: 'The message has the reason. What was published is never changed, numbers of generations are given once, and where a boot record is required `stage5 test PROFILE --key KEY` must have signed that it boots.',
  },
  S5_REPOSITORY_UNKNOWN: {
    summary: 'A profile names a repository that has no file.',
    help: 'Repositories are the YAML files of the folder `repos/`; the nearest names are in the message.',
  },
  S5_ROLLOUT_REFUSED: {
    summary: 'A rollout cannot begin, or cannot do that from where it is.',
    help: 'The message has the reason. A group with `require: booted` takes generations that `stage5 test` signed for; a group whose minAvailable leaves no guest that may be away cannot be updated; a rollout that ended stays ended: start another one.',
  },
  S5_ROLLOUT_UNKNOWN: {
    summary: 'There is no rollout of this id.',
    help: '`stage5 rollout status` shows the last ones of this engine. If you expected others, look at --engine: each SQLite file and each etcd prefix is a fleet of its own.',
  },
  S5_ROOT_UNKNOWN: {
    summary: 'The store does not know what this folder was made of.',
    help: 'Only roots that `stage5 checkout` made with the same store can be checked, under the path that they were made with; `stage5 store stats` lists them.',
  },
  S5_SCRIPT_UNKNOWN: {
    summary: 'A package brings a maintainer script that stage5 does not know how to replace.',
    help: 'stage5 runs no package scripts. Read the script with `stage5 why PROFILE PACKAGE --scripts`, declare what it does in the profile (users, files, services), and acknowledge it with `scripts: {PACKAGE: reason}`.',
  },
  S5_SIGNATURE_BAD: {
    summary: 'A signature is missing, wrong, expired, or made by a key that is not trusted.',
    help: 'The message says which. Check the keyring of the repository file. Never work around it by removing the keyring.',
  },
  S5_SOURCES_MISSING: {
    summary: 'No archive address is left for a repository.',
    help: 'With `from: apt`, the addresses are those of this machine: look at /etc/apt/sources.list and sources.list.d, and at `suites:` and `components:` of the repository file, which narrow them down. Or list the archives in the repository file under `sources:`.',
  },
  S5_STAGE_INVALID: {
    summary: 'A stage got parameters that it cannot use.',
    help: 'The message names the stage, the parameter and what was expected.',
  },
  S5_STORE_DAMAGED: {
    summary: 'An object of the store is not what its name says.',
    help: 'Run `stage5 store verify` to see what is affected. Damaged objects are fetched or made again by the next build.',
  },
  S5_STORE_VERSION: {
    summary: 'The store was written by another version of stage5.',
    help: 'Stores are caches: point STAGE5_STORE to another folder, or delete this one.',
  },
  S5_TOKEN_STALE: {
    summary: 'A command to a guest is older than one that it has obeyed already.',
    help: 'Each grant to disturb a guest has a token that only grows, and the guest remembers the highest one. A controller that was paused and woke up, or a command that came late, is refused so that it cannot undo newer decisions. Nothing was changed; whoever leads now goes on.',
  },
  S5_TOOL_FAILED: {
    summary: 'A tool that stage5 calls ended with an error.',
    help: 'The command and the end of its error output are in the message.',
  },
  S5_TOOL_MISSING: {
    summary: 'A tool that this command needs is not installed.',
    help: 'The message has the line to type. `stage5 doctor` lists all tools and what each is for.',
  },
  S5_UNIVERSE_INVALID: {
    summary: 'A resolver question in JSON is not one.',
    help: 'The message names the member and what was expected. `stage5 resolve --universe FILE` takes the format stage5-universe/1: binhosts, config and request.',
  },
  S5_USAGE: {
    summary: 'The command line says something that the command does not understand.',
    help: 'The message says what was expected. `stage5 COMMAND --help` lists arguments and options with examples.',
  },
  S5_VERSION_SYNTAX: {
    summary: 'A version is not written as its scheme demands.',
    help: 'Debian: [epoch:]upstream[-revision]. Native packages: semver. Gentoo: PMS chapter 3.',
  },
} as const

export type Code = keyof typeof CODES
