/** What happened, for progress lines, `--json` logs and traces: names, ids and numbers, no prose. */
export type Event =
  | { kind: 'step.started'; step: string }
  | { kind: 'step.finished'; step: string; ms: number }
  | { kind: 'index.fetched'; repo: string; name: string; bytes: number; fromCache: boolean }
  | { kind: 'download.progress'; name: string; received: number; total: number }
  | { kind: 'package.fetched'; name: string; bytes: number; fromCache: boolean }
  | { kind: 'package.unpacked'; name: string; entries: number; bytes: number; fromCache: boolean }
  | { kind: 'stage.finished'; stage: string; ms: number; fromCache: boolean }
  | { kind: 'image.progress'; name: string; done: number; total: number }
  | { kind: 'image.written'; name: string; bytes: number; ms: number }
  /** Compressed blocks of one build: made now, or known from earlier ones; bytes that went into those made. */
  | { kind: 'blocks.counted'; made: number; reused: number; bytes: number }
  | { kind: 'rollout.moved'; rollout: string; text: string }
  | { kind: 'warning'; code: string; message: string }

/** Takes an event; must not throw and must not block. */
export type Report = (event: Event) => void
