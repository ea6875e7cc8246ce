// Questions to the service: repeated when it says, and answered in the order in which they were asked.

const PATIENCE = 10_000; // milliseconds that an answer may take
const LONGEST = 30; // seconds of one wait that the service may ask for
const TRIES = 5;

/** The service has answered that it will not: `status`, and its own words. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** Nobody answers. */
export class Unreachable extends Error {}

const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

async function reached(path, body) {
  // A proxy before several services finds the visitor's one by X-Visitor.
  const headers = { "Content-Type": "application/json", "X-Visitor": body?.visitor };
  const options = body && { method: "POST", body: JSON.stringify(body), headers };
  try {
    const response = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE) });
    const told = await response.json().catch(() => ({}));
    if (response.status === 502 || response.status === 504) throw new Unreachable(response.statusText);
    return { response, told };
  } catch (error) {
    throw error instanceof Unreachable ? error : new Unreachable(error.message);
  }
}

/**
 * The JSON answer of `path`; a POST if there is a body. While the service is busy (503) it is asked again after
 * as many seconds as it says, `tries` times in all; `waits(seconds)` is called before each wait.
 */
export async function ask(path, { body, tries = TRIES, waits = () => {} } = {}) {
  for (let n = 1; ; n++) {
    const { response, told } = await reached(path, body);
    if (response.ok) return told;
    if (response.status !== 503 || n >= tries)
      throw new Refused(response.status, told.error ?? response.statusText);
    const seconds = Math.min(Math.max(Number(response.headers.get("Retry-After")) || 1, 0.1), LONGEST);
    waits(seconds, told.error);
    await pause(seconds);
  }
}

/**
 * What one model is asked. Events are sent one after the other, and kept until they are accepted; an answer
 * is handed to `show(items)` only if nothing was asked after its question.
 */
export class Lane {
  constructor(prefix, show, waits) {
    this.prefix = prefix;
    this.show = show;
    this.waits = waits;
    this.unsent = [];
    this.newest = 0;
  }

  /** Send an event, which has a key: sent twice, it is counted once. */
  event(body) {
    this.unsent.push({ number: ++this.newest, body });
    return this.send();
  }

  /** Ask for a list without an event, once all events are sent. */
  async list(body) {
    const number = ++this.newest;
    await this.send();
    if (number === this.newest) this.#answered(number, await this.#asked("recommend", body));
  }

  /** Send what is not yet accepted. */
  async send() {
    if (!this.unsent.length) return;
    this.sending ??= this.#sent();
    await this.sending;
  }

  /** Forget what was asked: answers that come now are not shown. */
  forget() {
    this.newest++;
    this.unsent = [];
  }

  async #sent() {
    try {
      while (this.unsent.length) {
        const one = this.unsent[0];
        const told = await this.#asked("events", one.body).catch((error) => this.#failed(one, error));
        this.#done(one);
        this.#answered(one.number, told);
      }
    } finally {
      this.sending = undefined;
    }
  }

  #failed(one, error) {
    if (error instanceof Refused && error.status < 500) this.#done(one); // it would be refused again
    throw error;
  }

  #done(one) {
    this.unsent = this.unsent.filter((other) => other !== one);
  }

  #answered(number, told) {
    if (number === this.newest) this.show(told.items ?? []);
  }

  #asked(path, body) {
    return ask(this.prefix + path, { body, waits: this.waits });
  }
}
