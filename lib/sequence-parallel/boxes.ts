// Messages on channels: letters wait for a receiver, or receivers for a letter.

interface Box<Letter> {
  readonly letters: Letter[];
  readonly receivers: ((letter: Letter) => void)[];
}

export class Boxes<Letter> {
  /** Those in which something waits. */
  readonly #boxes = new Map<string, Box<Letter>>();

  put(channel: string, letter: Letter): void {
    const receiver = this.#boxes.get(channel)?.receivers.shift();
    this.#tidy(channel);
    if (receiver) receiver(letter);
    else this.#box(channel).letters.push(letter);
  }

  /** A letter that is there. */
  take(channel: string): Letter | undefined {
    const letter = this.#boxes.get(channel)?.letters.shift();
    this.#tidy(channel);
    return letter;
  }

  /** The next letter goes to this receiver. */
  expect(channel: string, receiver: (letter: Letter) => void): void {
    this.#box(channel).receivers.push(receiver);
  }

  clear(): void {
    this.#boxes.clear();
  }

  #box(channel: string): Box<Letter> {
    let box = this.#boxes.get(channel);
    if (box === undefined) this.#boxes.set(channel, (box = { letters: [], receivers: [] }));
    return box;
  }

  #tidy(channel: string): void {
    const box = this.#boxes.get(channel);
    if (box?.letters.length === 0 && box.receivers.length === 0) this.#boxes.delete(channel);
  }
}
