/** A WAMP client for browsers and Node. Served by the app as `<WAMP_ENDPOINT>/client.js`. */

/** What JSON has, and bytes: they travel as text that begins with a NUL. */
export type Value = null | boolean | number | string | Uint8Array | Value[] | { [key: string]: Value };
export type Args = readonly unknown[];
export type Kwargs = Readonly<Record<string, unknown>>;
export type State = "joining" | "joined" | "lost" | "closed";

/** The root of the errors below. */
export class WampError extends Error {}
/** There is no session, so nothing was sent. */
export class NotJoined extends WampError {}
/** The session ended before the answer. The router may have done what you asked for. */
export class SessionLost extends WampError {}
/** No answer came in time. The call was canceled where the router can do that. */
export class CallTimeout extends WampError {}
/** The callee or the router answered ERROR. Throw one in a procedure to answer with it. */
export class ApplicationError extends WampError {
  constructor(uri: string, args?: Args, kwargs?: Kwargs);
  readonly uri: string;
  // Payloads of others: you know their shape.
  readonly args: any[];
  readonly kwargs: Record<string, any>;
}
/** A result that is not exactly one positional value. Return one in a procedure to answer so. */
export class CallResult {
  constructor(args?: Args, kwargs?: Kwargs);
  readonly args: any[];
  readonly kwargs: Record<string, any>;
}

/** All times are milliseconds. */
export interface Options {
  /** Called at each change, with the reason of a loss. */
  onState?: (state: State, reason?: string) => void;
  /** Leaves the realm when it is aborted. */
  signal?: AbortSignal;
  /** How long to wait for an answer; 10,000. */
  timeout?: number;
  /** The pause before the first attempt to reconnect; 100. It doubles up to `maxDelay`, 3,000. */
  minDelay?: number;
  maxDelay?: number;
  /** After how long a silence to ask whether the router is there; 30,000. 0: never. */
  heartbeat?: number;
  /** More headers for `POST <endpoint>/session`, a CSRF token for example. */
  headers?: Record<string, string>;
  /** For a router's own `ws:` or `wss:` URL, where no app says how to join. */
  realm?: string;
  authid?: string;
  ticket?: string;
}

export interface CallOptions {
  /** How long to wait for the result; that of `connect`, or for ever in `stream`. `Infinity`: for ever. */
  timeout?: number;
  /** Cancels the call when it is aborted; the promise rejects with `signal.reason`. */
  signal?: AbortSignal;
  disclose_me?: boolean;
}

export interface PublishOptions {
  acknowledge?: boolean;
  exclude_me?: boolean;
  exclude?: number[];
  exclude_authid?: string[];
  exclude_authrole?: string[];
  eligible?: number[];
  eligible_authid?: string[];
  eligible_authrole?: string[];
  disclose_me?: boolean;
  retain?: boolean;
}

export type Match = "exact" | "prefix" | "wildcard";

export interface EventDetails {
  topic: string;
  publication: number;
  publisher?: number;
  publisher_authid?: string;
  publisher_authrole?: string;
  retained?: boolean;
  [key: string]: unknown;
}

export interface InvocationDetails {
  procedure: string;
  caller?: number;
  caller_authid?: string;
  caller_authrole?: string;
  /** Send a progressive result, if the caller asked for them. */
  progress(args?: Args, kwargs?: Kwargs): void;
  /** Aborted when the caller cancels, or the session ends. */
  signal: AbortSignal;
  [key: string]: unknown;
}

export type EventHandler = (args: any[], kwargs: Record<string, any>, details: EventDetails) => void;
export type Procedure = (
  args: any[],
  kwargs: Record<string, any>,
  details: InvocationDetails,
) => unknown;

/**
 * Join the realm of an app, by the path of its `WAMP_ENDPOINT`, or of a router, by its URL.
 *
 * Resolves when joined. Rejects with an ApplicationError when the app or the router refuses, with
 * `signal.reason` when it is aborted; waits for an app that is not there yet.
 */
export function connect(where?: string | URL, options?: Options): Promise<Wamp>;

/** A session, and those that follow it when it is lost. */
export class Wamp {
  constructor(where?: string | URL, options?: Options);
  readonly state: State;
  /** The session id while joined. */
  readonly session: number | null;
  readonly authid?: string;
  readonly authrole?: string;
  readonly realm?: string;
  /** Why the last attempt to join was refused. */
  readonly refused?: ApplicationError | null;

  /** Begin to join. `connect` does it for you. */
  open(): void;
  /** Leave the realm and stay away. Pending calls reject with SessionLost. */
  close(): void;
  /** Have a function called at each change of state; call what it returns to end that. */
  onState(listener: (state: State, reason?: string) => void): () => void;

  /** Call a procedure. Resolves with its one positional value, or a CallResult. */
  call<Result = any>(
    procedure: string,
    args?: Args,
    kwargs?: Kwargs,
    options?: CallOptions & { onProgress?: (args?: any[], kwargs?: Record<string, any>) => void },
  ): Promise<Result>;
  /** Call a procedure; iterate its progressive results, then its result unless that is null. */
  stream<Item = any>(
    procedure: string,
    args?: Args,
    kwargs?: Kwargs,
    options?: CallOptions,
  ): AsyncGenerator<Item, void, void>;

  /** Publish an event. Resolves at once; with `acknowledge`, with the publication id. */
  publish(
    topic: string,
    args: Args | undefined,
    kwargs: Kwargs | undefined,
    options: PublishOptions & { acknowledge: true },
  ): Promise<number>;
  publish(topic: string, args?: Args, kwargs?: Kwargs, options?: PublishOptions): Promise<void>;

  /**
   * Have a function called with each event, now and after each reconnect.
   *
   * Resolves with a function that ends it when the router has answered, rejects when it refuses; it is
   * asked again in the next session all the same.
   */
  subscribe(
    topic: string,
    handler: EventHandler,
    options?: { match?: Match; get_retained?: boolean },
  ): Promise<() => Promise<void>>;

  /** Answer calls with what a function returns, resolves with or throws. As `subscribe` otherwise. */
  register(
    procedure: string,
    handler: Procedure,
    options?: {
      match?: Match;
      invoke?: "single" | "roundrobin" | "random" | "first" | "last";
      concurrency?: number;
      force_reregister?: boolean;
    },
  ): Promise<() => Promise<void>>;
}
