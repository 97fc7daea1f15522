//! Metrics and the stats page as those see them who scrape and look.

mod http;
mod invention;
mod strict;
mod text;
