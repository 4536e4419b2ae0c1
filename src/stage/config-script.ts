/** Config packages in the guest: the program that fetches, proves and applies them, and the keys it believes. */
import { createHash } from 'node:crypto'
import { signifyPublicKey } from '../format/signify.ts'
import type { ConfigSpec, DataArea } from '../resolve/profile.ts'

/** Debian's name for OpenBSD's signify. */
export const SIGNIFY = 'usr/bin/signify-openbsd'

export const CONFIG_PROGRAM = 'etc/stage5/config/apply'

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
  const kept = mode === 'persistent' && data[0] ? `/run/stage5/data/${data[0].label}/.stage5-config` : ''
  return `#!/bin/sh
# Written by stage5: fetches config packages, proves who signed them, and applies them in order. Called at every start
# before the services; calling it again changes nothing that is applied already.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mode=${mode}
kept=${kept}
default='${urls.join(' ')}'
${SCRIPT}`
}

const SCRIPT = String.raw`here=/run/stage5/config
try=$here/try
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

# Applies the package in a file, or says why not and leaves the root as it is.
apply() {
  archive=$2
  mkdir -p $try
  mount -t tmpfs -o mode=0755 config $try || return 1
  mkdir -p $try/upper $try/work $try/root $try/package
  if ! tar -xzf "$archive" -C $try/package; then
    say "$name failed: it cannot be unpacked; the base is as it was"
    leave_try
    return 1
  fi
  if ! mount -t overlay -o lowerdir=/,upperdir=$try/upper,workdir=$try/work config $try/root; then
    say "$name failed: no overlay to try it in; the base is as it was"
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
    say "$name failed with status $status; the base is as it was"
    leave_try
    return 1
  fi
  gone >$here/gone
  umount $try/root
  find $try/upper -type c -exec rm -f {} +
  while read -r path; do rm -rf "$path"; done <$here/gone
  cp -a $try/upper/. / || { say "$name failed: the root is full"; leave_try; return 1; }
  leave_try
}

one() {
  url=$1
  name=$(basename "$url")
  file=$here/fetched/$name
  why=''
  if ! obtain "$url" "$file.new"; then why="$url cannot be fetched"
  elif ! obtain "$url.sig" "$file.new.sig"; then why="it is not signed, there is no $url.sig"; fi
  if [ "$why" ]; then
    rm -f "$file.new" "$file.new.sig"
    if [ -z "$kept" ] || [ ! -e "$kept/$name" ]; then
      say "$name refused: $why"
      return 1
    fi
    cp "$kept/$name" "$file.new" && cp "$kept/$name.sig" "$file.new.sig"
    say "$name: $why; the kept one is used"
  fi
  if ! signed "$file.new"; then
    say "$name refused: no key of this base signed it"
    rm -f "$file.new" "$file.new.sig"
    return 1
  fi
  sum=$(sha256sum <"$file.new")
  if [ "$(cat $here/applied/"$name" 2>/dev/null)" = "$sum" ]; then
    say "$name unchanged"
    return
  fi
  apply "$name" "$file.new" || return 1
  echo "$sum" >$here/applied/"$name"
  if [ "$kept" ] && ! cmp -s "$file.new" "$kept/$name"; then
    mkdir -p "$kept" && cp "$file.new" "$kept/$name.new" && cp "$file.new.sig" "$kept/$name.sig" && sync &&
      mv "$kept/$name.new" "$kept/$name" && sync || say "$name cannot be kept in $kept"
  fi
  say "$name applied"
}

urls=$(sed -n 's/^stage5\.config=//p' /run/stage5/words 2>/dev/null)
[ "$urls" ] || urls=$default
[ "$urls" != off ] || urls=''
if grep -q ' / [^ ]* ro[, ]' /proc/mounts; then
  say 'nothing: the root is read-only already'
  exit
fi
failed=0
for url in $urls; do one "$url" || failed=$((failed + 1)); done
if [ $mode = immutable ]; then
  mount -o remount,ro / && say 'the root is read-only now'
fi
exit $failed
`
