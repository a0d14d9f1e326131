//! Just enough of Rust's grammar to count lines: comments and literals blanked out, braces matched.

/// The source with comments, strings and character literals replaced by blanks; line breaks and
/// line lengths stay, so positions do too.
#[must_use]
pub fn blanked(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = end_of_opaque(source, at).unwrap_or(at);
        if end > at {
            let blank = |b: &u8| if *b == b'\n' { b'\n' } else { b' ' };
            out.extend(bytes[at..end].iter().map(blank));
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that begins here ends; `None` when none begins here.
fn end_of_opaque(source: &str, at: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    let rest = bytes.get(at..)?;
    if rest.starts_with(b"//") {
        let line = rest.iter().position(|b| *b == b'\n');
        return Some(line.map_or(bytes.len(), |n| at + n));
    }
    if rest.starts_with(b"/*") {
        return Some(end_of_block_comment(bytes, at));
    }
    match rest.first()? {
        b'"' => Some(end_of_string(bytes, at + 1)),
        b'r' if !in_word(bytes, at) => end_of_raw_string(bytes, at),
        b'\'' => end_of_char(source, at),
        _ => None,
    }
}

fn in_word(bytes: &[u8], at: usize) -> bool {
    // `br"..."` is a raw string too: its `b` is no part of a longer word.
    let before = |n: usize| at.checked_sub(n).map(|i| bytes[i]);
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    match before(1) {
        Some(b'b' | b'c') => before(2).is_some_and(is_word),
        Some(b) => is_word(b),
        None => false,
    }
}

fn end_of_block_comment(bytes: &[u8], at: usize) -> usize {
    let (mut i, mut depth) = (at + 2, 1);
    while i < bytes.len() && depth > 0 {
        if bytes[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if bytes[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
        } else {
            i += 1;
        }
    }
    i.min(bytes.len())
}

fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut i = from;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

fn end_of_raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let body = &bytes[open + 1..];
    let length = body.windows(close.len()).position(|w| w == close);
    Some(length.map_or(bytes.len(), |n| open + 1 + n + close.len()))
}

/// A quote begins a character only if another one follows; otherwise it is a lifetime.
fn end_of_char(source: &str, at: usize) -> Option<usize> {
    let rest = source.get(at + 1..)?;
    let mut characters = rest.char_indices();
    let (_, first) = characters.next()?;
    if first == '\\' {
        let escaped = rest.get(2..)?;
        return escaped.find('\'').map(|n| at + 1 + 2 + n + 1);
    }
    let (next, quote) = characters.next()?;
    (quote == '\'').then_some(at + 1 + next + 1)
}

/// A function, by its lines, both counted from 1 and both included.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Where it begins, its attributes and documentation left out.
    pub first: usize,
    /// The line of its closing brace.
    pub last: usize,
}

/// Every function with a body, nested ones too.
#[must_use]
pub fn functions(blanked: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in blanked.match_indices("fn ") {
        if in_word(blanked.as_bytes(), at) {
            continue;
        }
        let name: String = blanked[at + 3..]
            .trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if let (false, Some(open)) = (name.is_empty(), body_of(blanked, at)) {
            found.push(Function {
                name,
                first: line_of(blanked, at),
                last: line_of(blanked, closing(blanked, open)),
            });
        }
    }
    found
}

/// Where the body opens: the first brace outside parentheses; `None` for one that ends with `;`.
fn body_of(blanked: &str, at: usize) -> Option<usize> {
    let mut depth = 0_u32;
    for (i, b) in blanked.bytes().enumerate().skip(at) {
        match b {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'{' if depth == 0 => return Some(i),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Where the brace that opens here closes.
fn closing(blanked: &str, open: usize) -> usize {
    let mut depth = 0_u32;
    for (i, b) in blanked.bytes().enumerate().skip(open) {
        match b {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return i;
                }
            }
            _ => {}
        }
    }
    blanked.len()
}

/// The line, from 1, of a position.
#[must_use]
pub fn line_of(text: &str, at: usize) -> usize {
    let until = &text.as_bytes()[..at.min(text.len())];
    until
        .iter()
        .fold(1, |line, b| line + usize::from(*b == b'\n'))
}

/// First and last line, from 1, of every `#[cfg(test)] mod name { ... }`.
#[must_use]
pub fn test_modules(blanked: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, attribute) in blanked.match_indices("#[cfg(test)]") {
        let rest = blanked[at + attribute.len()..].trim_start();
        let begin = blanked.len() - rest.len();
        let is_module = rest.starts_with("mod ");
        if let (true, Some(open)) = (is_module, body_of(blanked, begin)) {
            let close = closing(blanked, open);
            found.push((line_of(blanked, at), line_of(blanked, close)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_literals_and_comments_do_not_count() {
        let source =
            "fn a<'x>() { // }\n let _ = ('}', \"}\\\"}\", r#\"}\"#, b'\\''); /* } */\n}\n";
        let found = functions(&blanked(source));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].first, found[0].last), (1, 3));
    }

    #[test]
    fn a_function_without_a_body_or_in_a_word_is_none() {
        assert_eq!(
            functions("trait T { fn a(x: [u8; 2]); }\nlet myfn = 1;"),
            []
        );
    }

    #[test]
    fn a_test_module_is_found_whole() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\n#[cfg(test)]\nuse x;\n";
        assert_eq!(test_modules(&blanked(source)), [(2, 5)]);
    }

    #[test]
    fn blanking_keeps_every_position() {
        let source = "let a = \"ä\n\"; // ö\nlet b = 'ü';";
        let out = blanked(source);
        assert_eq!(out.len(), source.len());
        assert_eq!(out.lines().count(), source.lines().count());
        assert!(out.ends_with(';'));
    }
}
