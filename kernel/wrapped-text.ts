/** Breaks a text at its blanks into lines of at most `width` characters, `prefix` included; a longer word stays whole. */
export function wrapped(text: string, width: number, prefix = ''): readonly string[] {
  const lines: string[] = [];
  let line = prefix;
  for (const word of text.split(' ')) {
    const longer = line === prefix ? `${prefix}${word}` : `${line} ${word}`;
    if (longer.length > width && line !== prefix) {
      lines.push(line);
      line = `${prefix}${word}`;
    } else line = longer;
  }
  return [...lines, line];
}
