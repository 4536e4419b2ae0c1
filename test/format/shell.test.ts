/** Shell scripts into trees: what belongs to which command, and what is not understood. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Command, parseShell, type Script, type Word } from '../../src/format/shell.ts'

/** A script with every structure in brackets, so that it can be compared at a glance. */
function shown(text: string): string | undefined {
  const script = parseShell(text)
  return script && script.map(showAndOr).join('; ')
}

function showAndOr({ first, rest }: Script[number]): string {
  const show = ({ negated, commands }: Script[number]['first']) =>
    `${negated ? '!' : ''}${commands.map(showCommand).join(' | ')}`
  return [show(first), ...rest.map(({ operator, pipeline }) => `${operator} ${show(pipeline)}`)].join(' ')
}

function showScript(script: Script): string {
  return `{${script.map(showAndOr).join('; ')}}`
}

function showCommand(item: Command): string {
  const redirects = item.redirects.map(({ operator, target }) => ` ${operator}${showWord(target)}`).join('')
  switch (item.kind) {
    case 'simple':
      return (
        [
          ...item.assignments.map(({ name, value }) => `${name}=${showWord(value)}`),
          ...item.words.map(showWord),
        ].join(' ') + redirects
      )
    case 'if':
      return `if${item.branches.map(({ test: condition, body }) => `${showScript(condition)}${showScript(body)}`).join('')}${showScript(item.otherwise)}${redirects}`
    case 'case':
      return `case ${showWord(item.word)}${item.items.map(({ patterns, body }) => ` (${patterns.map(showWord).join('|')})${showScript(body)}`).join('')}${redirects}`
    case 'while':
      return `while${showScript(item.test)}${showScript(item.body)}${redirects}`
    case 'for':
      return `for ${item.name} in ${item.words?.map(showWord).join(',') ?? '@'}${showScript(item.body)}${redirects}`
    case 'group':
      return `${item.subshell ? 'sub' : ''}${showScript(item.body)}${redirects}`
    case 'function':
      return `${item.name}()${showCommand(item.body)}`
  }
}

function showWord(word: Word): string {
  return word
    .filter((part) => word.length === 1 || part.kind !== 'text' || part.text !== '')
    .map((part) => {
      if (part.kind === 'text') return part.quoted ? `'${part.text}'` : part.text
      if (part.kind === 'opaque') return '?'
      const quotes = part.quoted ? '"' : ''
      if (part.kind === 'command') return `${quotes}$${showScript(part.script)}${quotes}`
      return `${quotes}$${part.name}${part.operator}${showWord(part.word)}${quotes}`
    })
    .join('')
}

const TABLE: readonly (readonly [text: string, meant: string])[] = [
  ['', ''],
  ['# nothing\n\n', ''],
  ['a b c', 'a b c'],
  ['a; b & c\nd', 'a; b; c; d'],
  ['a && b || ! c', 'a && b || !c'],
  ['a | b |\n c', 'a | b | c'],
  ['a \\\n  b', 'a b'],
  ['a#b # comment', 'a#b'],
  ['X=1 Y="2 3" cmd X=4', "X=1 Y='2 3' cmd X=4"],
  ['X= ', 'X='],
  [`'a b'"c d"e\\ f`, `'a b''c d'e' 'f`],
  ['"$a$b" ${c} $1 $@ "$#"', `"$a""$b" $c $1 $@ "$#"`],
  ['${a:-b c} "${d:+--x="$e"}"', `$a:-b' 'c "$d:+'--x='"$e""`],
  ['${a%.*} ${b##*/} ${#c} $((1 + (2)))', '$a%.* $b##*/ ? ?'],
  ['a $(b $(c d)) "`e \\`f\\``"', `a $` + `{b $` + `{c d}} "$` + `{e $` + `{f}}"`],
  ['cost $ 5$', "cost '$' 5'$'"],
  ['a >/dev/null 2>&1 <in >>"$f"', `a >/dev/null >&1 <in >>"$f"`],
  ['if a; then b; fi', 'if{a}{b}{}'],
  ['if a; b\nthen c; elif d; then e; else f; fi >x', 'if{a; b}{c}{d}{e}{f} >x'],
  ['while read x; do y; done < z', 'while{read x}{y} <z'],
  ['for i in 1 "2"; do a $i; done', "for i in 1,'2'{a $i}"],
  ['for i\ndo a; done', 'for i in @{a}'],
  ['case "$1" in a|b) c;; (d*) ;; *) e; esac', `case "$1" (a|b){c} (d*){} (*){e}`],
  ['case x in\n  y)\n    a\n    ;;\nesac', 'case x (y){a}'],
  ['f() { a; }; g () (b)', 'f(){a}; g()sub{b}'],
  ['{ a; b; } && ( c; d )', '{a; b} && sub{c; d}'],
  ['cat <<EOF\nif $x `\nEOF\nnext', 'cat <<EOF; next'],
  ["cat <<-'E' | wc\n\ttext\n\tE\nnext", "cat <<-'E' | wc; next"],
  ['cat <<A <<B\n1\nA\n2\nB\nx', 'cat <<A <<B; x'],
  ['echo if then fi done', 'echo if then fi done'],
  ['iffy; done_x', 'iffy; done_x'],
  ['[ "$a" = b ] && c', `[ "$a" = b ] && c`],
]

test('structures are told apart', () => {
  for (const [text, meant] of TABLE) assert.equal(shown(text), meant, text)
})

test('what is no shell script, or not understood, is not guessed at', () => {
  for (const text of [
    'if a; then b',
    'if a; fi',
    'fi',
    'a )',
    'a; }',
    '( a',
    '{ a',
    '"open',
    "'open",
    '`open',
    '$(open',
    '${open',
    'case x in a) b',
    'cat <<EOF\nnever ended',
    'cat <<EOF',
    'while a; do b',
    'a=(1 2)',
    'a ;; b',
    '&& a',
    'a | | b',
    'a &&',
    '((1 + 1))',
    '>',
    'f() ',
    '${a!b}',
    `${'('.repeat(200)}a${')'.repeat(200)}`,
    `${'$('.repeat(200)}a${')'.repeat(200)}`,
  ])
    assert.equal(parseShell(text), undefined, text)
})

test('every command knows its line', () => {
  const text = '#!/bin/sh\n\na\nif b; then\n  c \\\n   d\n  cat <<E\nx\nE\nfi\ne `f\n g`\n'
  const lines: string[] = []
  const visit = (script: Script): void => {
    for (const { first } of script)
      for (const item of first.commands) {
        if (item.kind === 'if') for (const branch of item.branches) [branch.test, branch.body].forEach(visit)
        if (item.kind !== 'simple') continue
        lines.push(`${item.line} ${item.words.map(showWord).join(' ')}`)
        for (const part of item.words.flat()) if (part.kind === 'command') visit(part.script)
      }
  }
  visit(parseShell(text) ?? [])
  assert.deepEqual(lines, [
    '3 a',
    '4 b',
    '5 c d',
    '7 cat',
    '11 e ${f;  g}'.replace(';  ', '; '),
    '11 f',
    '12 g',
  ])
})
