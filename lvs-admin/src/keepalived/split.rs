//! A line into words and braces, and without its comment.

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word without its quotes.
    Word(String),
    /// `{`
    Open,
    /// `}`
    Close,
}

/// A quoted string does not end on its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unterminated(pub(super) char);

/// The line up to a `#` or `!` that is not quoted.
pub(super) fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(c),
            '#' | '!' if quote.is_none() => return &line[..at],
            _ => {}
        }
    }
    line
}

/// The words and braces. Braces stand for themselves wherever they are, but in quotes and in `${NAME}`.
pub(super) fn tokens(line: &str) -> Result<Vec<Token>, Unterminated> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\'' => {
                let text = word.get_or_insert_default();
                loop {
                    match rest.next().ok_or(Unterminated(c))? {
                        end if end == c => break,
                        '\\' => escape(&mut rest, text),
                        inside => text.push(inside),
                    }
                }
            }
            '\\' => escape(&mut rest, word.get_or_insert_default()),
            '{' if word.as_ref().is_some_and(|word| word.ends_with('$')) => {
                let text = word.get_or_insert_default();
                text.push('{');
                text.extend(rest.by_ref().take_while(|&c| c != '}'));
                text.push('}');
            }
            '{' | '}' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(if c == '{' { Token::Open } else { Token::Close });
            }
            c if c.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            c => word.get_or_insert_default().push(c),
        }
    }
    tokens.extend(word.map(Token::Word));
    Ok(tokens)
}

/// What stands behind a backslash.
fn escape(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let Some(c) = rest.next() else { return };
    let mut digits = |first: Option<char>, radix: u32, most: usize| {
        let mut value = first.and_then(|c| c.to_digit(radix)).unwrap_or(0);
        for _ in 0..most {
            let Some(digit) = rest.peek().and_then(|c| c.to_digit(radix)) else { break };
            value = value * radix + digit;
            rest.next();
        }
        char::from(value as u8)
    };
    out.push(match c {
        'a' => '\x07',
        'b' => '\x08',
        'E' => '\x1b',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'x' => digits(None, 16, 2),
        '0'..='7' => digits(Some(c), 8, 2),
        'c' => char::from(rest.next().map_or(0, |c| c as u8 & 0x1f)),
        c => c,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let name = |token| match token {
            Token::Word(word) => word,
            Token::Open => "<".to_owned(),
            Token::Close => ">".to_owned(),
        };
        tokens(line).unwrap().into_iter().map(name).collect()
    }

    #[test]
    fn quotes_join_and_braces_part() {
        assert_eq!(words(r#"abcd" efg h jkl "mnop"#), ["abcd efg h jkl mnop"]);
        assert_eq!(words(r#"abcd "efg h jkl" mnop"#), ["abcd", "efg h jkl", "mnop"]);
        assert_eq!(words("PING_CHECK{}"), ["PING_CHECK", "<", ">"]);
        assert_eq!(words("a ${NO}b } \"{\""), ["a", "${NO}b", ">", "{"]);
        assert_eq!(words("misc_path \"/x 'a b' \\\"c\""), ["misc_path", "/x 'a b' \"c"]);
        assert_eq!(words(r"\x41\102\t\\\q\cA"), ["AB\t\\q\u{1}"]);
        assert_eq!(words("\"\" ''"), ["", ""]);
        assert_eq!(words("a\\"), ["a"]);
        assert_eq!(tokens("a 'b"), Err(Unterminated('\'')));
    }

    #[test]
    fn comments_begin_anywhere_but_in_quotes() {
        assert_eq!(without_comment("a # b"), "a ");
        assert_eq!(without_comment("! all"), "");
        assert_eq!(without_comment("a '#!' \\# b!c"), "a '#!' \\# b");
    }
}
