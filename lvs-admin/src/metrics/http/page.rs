//! The page, put together when it is compiled: one file without anything external.

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

macro_rules! style {
    () => {
        include_str!("../page/style.css")
    };
}
macro_rules! script {
    () => {
        concat!(
            include_str!("../page/script/words.js"),
            include_str!("../page/script/services.js"),
            include_str!("../page/script/panels.js"),
            include_str!("../page/script/main.js"),
        )
    };
}

/// The stats page, as it is served at `/`. It asks for `stats.json` beside it.
pub const PAGE: &str = concat!(
    include_str!("../page/head.html"),
    "<style>",
    style!(),
    "</style>\n",
    include_str!("../page/body.html"),
    "<script>",
    script!(),
    "</script>\n</body>\n</html>\n"
);

/// What the page may do: run its own script and style, ask this server, and nothing else.
pub(super) fn policy() -> String {
    let hash = |text: &str| Base64::encode_string(&Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(script!()),
        hash(style!())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_nothing_external_and_builds_no_markup_from_data() {
        for part in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!PAGE.contains(part), "{part}");
        }
        for part in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
        {
            assert!(!script!().contains(part), "{part}");
        }
        // A policy with hashes lets neither attributes with style nor with script through.
        for part in [" style=", " onclick=", " onload="] {
            assert!(!PAGE.contains(part), "{part}");
        }
        assert_eq!(PAGE.matches("<script>").count(), 1);
        assert_eq!(PAGE.matches("</script>").count(), 1);
        assert!(!script!().contains('\r') && !style!().contains('\r'), "the hashes would not fit");
    }
}
