//! Lines of words into blocks inside blocks.

use super::MAX_BLOCK_DEPTH;
use super::source::Line;
use super::split::Token;
use crate::config::{FileError, Place, excerpt};

/// A keyword with its values, and its block if it has one.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) keyword: String,
    pub(super) values: Vec<String>,
    pub(super) block: Option<Vec<Node>>,
}

/// A block whose end has not come yet.
struct Begun {
    nodes: Vec<Node>,
    /// What the block belongs to; nothing for the file itself.
    owner: Option<(Place, String, Vec<String>)>,
}

/// Puts blocks together. A keyword's values end with its line; its `{` may stand on the next one.
pub(super) fn build(lines: Vec<Line>) -> Result<Vec<Node>, FileError> {
    let mut open = vec![Begun { nodes: Vec::new(), owner: None }];
    for Line { place, tokens } in lines {
        let mut words: Vec<String> = Vec::new();
        for token in tokens {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    let owner = owner(&place, &mut words, &mut open)?;
                    if open.len() > MAX_BLOCK_DEPTH {
                        let expected = format!("at most {MAX_BLOCK_DEPTH} blocks inside each other");
                        return Err(place.error("blocks are nested too deep", expected));
                    }
                    open.push(Begun { nodes: Vec::new(), owner: Some(owner) });
                }
                Token::Close => {
                    statement(&place, &mut words, &mut open);
                    close(&place, &mut open)?;
                }
            }
        }
        statement(&place, &mut words, &mut open);
    }
    match open.pop() {
        Some(Begun { nodes, owner: None }) => Ok(nodes),
        Some(Begun { owner: Some((place, keyword, _)), .. }) => {
            Err(place.error(format!("the block of {} does not end", excerpt(&keyword)), "a } for each {"))
        }
        None => Ok(Vec::new()),
    }
}

/// Ends a keyword without block.
fn statement(place: &Place, words: &mut Vec<String>, open: &mut [Begun]) {
    if words.is_empty() {
        return;
    }
    let keyword = words.remove(0);
    let node = Node { place: place.clone(), keyword, values: std::mem::take(words), block: None };
    if let Some(block) = open.last_mut() {
        block.nodes.push(node);
    }
}

/// What a `{` belongs to: the words before it, or the line before.
fn owner(
    place: &Place,
    words: &mut Vec<String>,
    open: &mut [Begun],
) -> Result<(Place, String, Vec<String>), FileError> {
    if !words.is_empty() {
        let keyword = words.remove(0);
        return Ok((place.clone(), keyword, std::mem::take(words)));
    }
    let last = open.last_mut().and_then(|block| block.nodes.pop_if(|node| node.block.is_none()));
    match last {
        Some(Node { place, keyword, values, .. }) => Ok((place, keyword, values)),
        None => Err(place.error("a { belongs to no keyword", "the name of a block before it")),
    }
}

fn close(place: &Place, open: &mut Vec<Begun>) -> Result<(), FileError> {
    match (open.pop(), open.last_mut()) {
        (Some(Begun { nodes, owner: Some((place, keyword, values)) }), Some(around)) => {
            around.nodes.push(Node { place, keyword, values, block: Some(nodes) });
            Ok(())
        }
        _ => Err(place.error("a } ends no block", "a { for each }")),
    }
}
