//! Bodies of the fuzz targets `keepalived` and `toml`, which tests call, too. They panic where a promise is broken.

use super::{Configuration, FileError, Loaded, ServerOrder, difference, toml};
use crate::keepalived::{self, Files, Options};

/// Any bytes as a keepalived.conf. Every file that it includes is the same one again, if its path is short.
pub fn keepalived(text: &[u8]) {
    let options = Options { config_id: Some("main".to_owned()), ..Options::default() };
    if let Some(loaded) = told(keepalived::read("k.conf", &mut Mirror(text), &options)) {
        written_as_read(&loaded.configuration);
    }
}

/// Any bytes as a TOML configuration.
pub fn toml(text: &[u8]) {
    if let Some(loaded) = told(toml::read("lvs.toml", text)) {
        written_as_read(&loaded.configuration);
    }
}

/// What is wrong or odd is told in a line of text that a terminal only shows.
fn told(read: Result<Loaded, FileError>) -> Option<Loaded> {
    let plain = |text: &str| !text.contains(char::is_control);
    match read {
        Ok(loaded) => {
            assert!(loaded.notices.iter().all(|notice| plain(&notice.text)), "{:?}", loaded.notices);
            Some(loaded)
        }
        Err(error) => {
            let text = error.to_string();
            assert!(error.place().line >= 1 && text.contains("; expected "), "{text}");
            assert!(plain(&text) && text.len() < 4096, "{text}");
            None
        }
    }
}

fn written_as_read(configuration: &Configuration) {
    assert!(configuration.model().is_ok(), "no director would take it");
    assert!(difference(configuration, configuration, ServerOrder::Kept).is_empty());
    let text = toml::write(configuration);
    match toml::read("again", text.as_bytes()) {
        Ok(again) => assert_eq!(again.configuration, *configuration, "{text}"),
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// Files that are all the same.
struct Mirror<'a>(&'a [u8]);

impl Files for Mirror<'_> {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        if path.len() < 40 { Ok(self.0.to_vec()) } else { Err("its name is too long".to_owned()) }
    }

    fn list(&mut self, _: &str) -> Result<Vec<String>, String> {
        Ok(vec!["a.conf".to_owned(), "b.conf".to_owned()])
    }
}
