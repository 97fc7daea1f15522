//! The file as a whole, and `global_defs`.

use std::collections::HashMap;
use std::time::Duration;

use super::group::Member;
use super::tree::Node;
use super::{group, service, value, words};
use crate::config::{Assembly, FileError, excerpt};

/// Reads everything. Groups may stand behind the virtual servers that name them.
pub(super) fn read(nodes: &[Node], assembly: &mut Assembly) -> Result<(), FileError> {
    let nodes = words::TOP.sort(nodes, assembly)?;
    let mut groups: HashMap<&str, Vec<Member>> = HashMap::new();
    for node in nodes.iter().filter(|node| node.keyword == "virtual_server_group") {
        let [name] = &node.values[..] else {
            return Err(node.error("its name is not to be made out", "virtual_server_group NAME {"));
        };
        if groups.insert(name, group::members(node)?).is_some() {
            return Err(node.error(format!("{} is there twice", excerpt(name)), "each group once"));
        }
    }
    for node in nodes {
        match node.keyword.as_str() {
            "global_defs" => global(node, assembly)?,
            "virtual_server" => service::read(node, &groups, assembly)?,
            _ => {}
        }
    }
    Ok(())
}

fn global(node: &Node, assembly: &mut Assembly) -> Result<(), FileError> {
    let mut own: Vec<&Node> = Vec::new();
    for node in node.only_block()? {
        let word = node.keyword.as_str();
        let known = words::GLOBAL.left_out.iter().any(|(name, _)| *name == word);
        match words::GLOBAL_PREFIXES.iter().find(|(prefix, _)| word.starts_with(prefix)) {
            Some((_, reason)) if !known => {
                assembly.notice(&node.place, format!("{}: {reason}; left out", excerpt(word)));
            }
            _ => own.extend(words::GLOBAL.sort(std::slice::from_ref(node), assembly)?),
        }
    }
    own.iter().try_for_each(|node| timeouts(node, assembly))
}

/// `lvs_timeouts tcp N tcpfin N udp N`, any of them.
fn timeouts(node: &Node, assembly: &mut Assembly) -> Result<(), FileError> {
    const EXPECTED: &str = "lvs_timeouts tcp SECONDS tcpfin SECONDS udp SECONDS, one of them at least";
    let values = node.values()?;
    if values.is_empty() {
        return Err(node.error("it has no value", EXPECTED));
    }
    let timeouts = &mut assembly.loaded.configuration.timeouts;
    for pair in values.chunks(2) {
        let [name, seconds] = pair else { return Err(node.wrong(&pair[0], EXPECTED)) };
        let field = match name.as_str() {
            "tcp" => &mut timeouts.tcp,
            "tcpfin" => &mut timeouts.tcp_fin,
            "udp" => &mut timeouts.udp,
            _ => return Err(node.wrong(name, EXPECTED)),
        };
        let seconds = value::number(seconds, &(1..=2_678_400))
            .ok_or_else(|| node.wrong(seconds, "a number of seconds from 1 to 2678400"))?;
        *field = Duration::from_secs(seconds);
    }
    Ok(())
}
