/** JSON web tokens, such as dataplane and user tokens, and truncated ones. */
const TOKEN = /\beyJ[\w-]{10,}(?:\.[\w-]*){0,2}/g;
/** A private key where the name of its file belongs, up to the end of the text that quotes it. */
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[^"]*/g;
/** User and password of a URL; a password may have a slash that should have been encoded. */
const CREDENTIALS = /:\/\/[^\s"'\\]+@/g;
/** Tokens in a query. */
const NAMED = /([?&#][\w-]*(?:token|secret|passw|key)[\w-]*=)[^\s&"'\\]+/gi;

/** Each match of a pattern above contains one of these. */
const MARKS = ['-----BEGIN ', 'eyJ', '://', '?', '&', '#'] as const;

/** No part logs a secret on purpose, but errors quote what others sent. */
export function withoutSecretsIn(text: string): string {
  // Most lines have nothing of the kind, and a search for plain text is far cheaper than a pattern.
  if (!MARKS.some((mark) => text.includes(mark))) return text;
  return text
    .replaceAll(PRIVATE_KEY, '[redacted]')
    .replaceAll(TOKEN, '[redacted]')
    .replaceAll(CREDENTIALS, '://[redacted]@')
    .replaceAll(NAMED, '$1[redacted]');
}
