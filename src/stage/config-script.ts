/** Config packages in the guest: the program that fetches, proves and applies them, and the keys it believes. */
import { createHash } from 'node:crypto'
import { signifyPublicKey } from '../format/signify.ts'
import type { ConfigSpec, DataArea } from '../resolve/profile.ts'

/** Debian's name for OpenBSD's signify. */
export const SIGNIFY = 'usr/bin/signify-openbsd'

export const CONFIG_PROGRAM = 'etc/stage5/config/apply'

/** The area that outlives a reboot and remembers which packages were applied. */
export function rememberingDisk(data: readonly DataArea[]): DataArea | undefined {
  return data.find(({ kind }) => kind === undefined || kind === 'overlay')
}

/** Files of `/etc/stage5/config/keys`, by name. */
export function configKeys({
  keys,
}: ConfigSpec): readonly { readonly name: string; readonly text: string }[] {
  return keys.map((hex) => {
    const raw = Buffer.from(hex, 'hex')
    const keyid = createHash('sha256').update(raw).digest('hex')
    return { name: `${keyid.slice(0, 16)}.pub`, text: signifyPublicKey(raw, keyid) }
  })
}

/**
 * A package is tried out in an overlay over the running root: what it brings is laid in, then its `apply` runs there.
 * Only when that ends well are the changes copied to the root itself; otherwise the overlay is thrown away.
 */
export function configScript({ mode, urls }: ConfigSpec, data: readonly DataArea[]): string {
  const disk = rememberingDisk(data)
  return `#!/bin/sh
# Written by stage5: fetches config packages, proves who signed them, and applies them in order. Called at every start
# before the services; calling it again changes nothing that is applied already.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mode=${mode}
area=${disk ? `/run/stage5/data/${disk.label}` : ''}
default='${urls.join(' ')}'
${SCRIPT}`
}

const SCRIPT = String.raw`here=/run/stage5/config
try=$here/try
seen=$here/seen kept=''
# A data disk that is there remembers numbers in every mode, and the packages themselves in one.
if [ "$area" ] && [ -d "$area" ]; then
  seen=$area/.stage5-config/seen
  [ $mode != persistent ] || kept=$area/.stage5-config/packages
fi
mkdir -p $here/applied $here/fetched

say() {
  echo "stage5: config $*" >/dev/console
  echo "$*" >>$here/log
}

obtain() {
  tries=0
  # wget -T of Debian's busybox 1.35 ends in a segmentation fault.
  until timeout 60 wget -q -O "$2" "$1" 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 3 ] || return 1
    sleep 1
  done
}

# What a package was signed by decides; its name and address prove nothing.
signed() {
  for key in /etc/stage5/config/keys/*.pub; do
    signify-openbsd -V -q -p "$key" -x "$1.sig" -m "$1" 2>/dev/null && return
  done
  return 1
}

leave_try() {
  for part in proc sys dev run; do umount -l $try/root/$part 2>/dev/null; done
  umount -l $try/root 2>/dev/null
  umount -l $try 2>/dev/null
}

# Prints what the tried root lacks and the running one has, below every directory that was written to. What is mounted
# over the root (data disks, /run) was never in the tried one.
gone() {
  device=$(stat -c %d /)
  (cd $try/upper && find . -type d) | while read -r folder; do
    [ "$(stat -c %d "/$folder" 2>/dev/null)" = "$device" ] || continue
    for path in "/$folder"/* "/$folder"/.[!.]*; do
      [ -e "$path" ] || [ -L "$path" ] || continue
      [ -e "$try/root$path" ] || [ -L "$try/root$path" ] || echo "$path"
    done
  done
}

# Applies the package in a file, or leaves the root as it is; then $why says why.
apply() {
  archive=$1
  mkdir -p $try
  mount -t tmpfs -o mode=0755 config $try || { why='failed: no tmpfs to try it in'; return 1; }
  mkdir -p $try/upper $try/work $try/root $try/package
  if ! tar -xzf "$archive" -C $try/package; then
    why='failed: it cannot be unpacked; the base is as it was'
    leave_try
    return 1
  fi
  if ! mount -t overlay -o lowerdir=/,upperdir=$try/upper,workdir=$try/work config $try/root; then
    why='failed: no overlay to try it in; the base is as it was'
    leave_try
    return 1
  fi
  status=0
  [ ! -d $try/package/root ] || cp -a $try/package/root/. $try/root/ || status=1
  if [ $status = 0 ] && [ -f $try/package/apply ]; then
    for part in proc sys dev run; do mount -o bind /$part $try/root/$part; done
    chroot $try/root /bin/sh -e -s <$try/package/apply >>$here/log 2>&1
    status=$?
    for part in proc sys dev run; do umount -l $try/root/$part; done
  fi
  if [ $status != 0 ]; then
    why="failed with status $status; the base is as it was"
    leave_try
    return 1
  fi
  gone >$here/gone
  umount $try/root
  find $try/upper -type c -exec rm -f {} +
  while read -r path; do rm -rf "$path"; done <$here/gone
  cp -a $try/upper/. / || { why='failed: the root is full'; leave_try; return 1; }
  leave_try
}

# Fetches the package and its signature.
fetched() {
  obtain "$url" "$file" || { why="refused: $url cannot be fetched"; return 1; }
  obtain "$url.sig" "$file.sig" || { why="refused: it is not signed, there is no $url.sig"; return 1; }
}

# The least number that the package may have, in $least: that of the last one applied, or what stage5.sequence= says of
# this package (NAME:NUMBER) or of all (NUMBER).
know_least() {
  least=0
  for word in $(cat "$seen/$name" 2>/dev/null) $(sed -n 's/^stage5\.sequence=//p' /run/stage5/words 2>/dev/null); do
    case $word in
      "$title":*) number=$(echo "$word" | cut -d: -f2-) ;;
      *:*) continue ;;
      *) number=$word ;;
    esac
    case $number in
      '' | *[!0-9]* | ????????????????*) why="refused: stage5.sequence=$word is no number"; return 1 ;;
    esac
    [ "$number" -le $least ] || least=$number
  done
}

# Whether a trusted key signed the package as this one, and it is no older than what was applied before.
proved() {
  signed "$file" || { why='refused: no key of this base signed it'; return 1; }
  label=$(tar -xzOf "$file" stage5-config 2>/dev/null)
  sequence=$(echo "$label" | cut -d' ' -f2)
  case $label in
    "$title "[0-9]*) ;;
    *' '[0-9]*) why="refused: it is signed as $(echo "$label" | cut -d' ' -f1)"; return 1 ;;
    *) why='refused: it has no number; stage5 config pack gives one'; return 1 ;;
  esac
  know_least || return 1
  [ "$sequence" -ge $least ] || { why="refused: it is number $sequence, older than $least"; return 1; }
}

# Package and signature in one file, the signature's two lines first: one rename, so that a power cut leaves the old or
# the new. Then its number: whatever is kept is never older than that.
remember() {
  mkdir -p "$seen" || return 1
  if [ "$kept" ]; then
    mkdir -p "$kept" || return 1
    { cat "$file.sig" "$file" >"$kept/$name.new" && sync && mv "$kept/$name.new" "$kept/$name" && sync; } || return 1
  fi
  [ "$(cat "$seen/$name" 2>/dev/null)" = "$sequence" ] ||
    { echo "$sequence" >"$seen/$name.new" && sync && mv "$seen/$name.new" "$seen/$name" && sync; }
}

settled() {
  sum=$(sha256sum <"$file")
  if [ "$(cat $here/applied/"$name" 2>/dev/null)" = "$sum" ]; then
    say "$name unchanged"
    return
  fi
  apply "$file" || return 1
  echo "$sum" >$here/applied/"$name"
  remember || say "$name cannot be remembered in $seen"
  say "$name applied"
}

one() {
  url=$1
  name=$(basename "$url")
  title=$(basename "$url" .tar.gz)
  file=$here/fetched/$name
  fetched && proved && settled && return
  if [ -z "$kept" ] || [ ! -e "$kept/$name" ]; then
    say "$name $why"
    return 1
  fi
  say "$name $why; the kept one is used"
  head -n 2 "$kept/$name" >"$file.sig"
  tail -n +3 "$kept/$name" >"$file"
  proved && settled && return
  say "$name, the kept one, $why"
  return 1
}

urls=$(sed -n 's/^stage5\.config=//p' /run/stage5/words 2>/dev/null)
[ "$urls" ] || urls=$default
[ "$urls" != off ] || urls=''
if grep -q ' / [^ ]* ro[, ]' /proc/mounts; then
  say 'nothing: the root is read-only already'
  exit
fi
failed=0
for url in $urls; do
  one "$url" || failed=$((failed + 1))
  rm -f $here/fetched/*
done
if [ $mode = immutable ]; then
  mount -o remount,ro / && say 'the root is read-only now'
fi
exit $failed
`
