//! What `ipvsadm` prints and how it exits where a rule is wrong, for scripts that look at either.
//!
//! Its words say less than a [`Problem`] does. They are those that a recording of ipvsadm 1.31 shows; where it has none for a
//! fault, the problem's own are used.

use lvs_core::config::ChangeError;

use super::problem::Problem;

/// The status for a command line that cannot be read.
const USAGE: u8 = 2;
/// The status for what the kernel refuses.
const KERNEL: u8 = 255;

const NOT_UNICAST: &str = "Invalid operation.  Possibly wrong module version, address not unicast, ...";

impl Problem {
    /// What ipvsadm prints, without the end of the line, and the status it exits with. `first` says that nothing stood in front
    /// of it in the line.
    #[must_use]
    pub fn ipvsadm(&self, first: bool) -> (String, u8) {
        match self {
            Self::UnknownOption { .. } if first => {
                ("Try `ipvsadm -h' or 'ipvsadm --help' for more information.".to_owned(), KERNEL)
            }
            Self::UnknownOption { .. } => (self.to_string(), KERNEL),
            Self::UnknownScheduler { .. } => ("Scheduler or persistence engine not found".to_owned(), KERNEL),
            Self::IllegalAddress { role, .. } => (format!("illegal {role} address[:port] specified"), USAGE),
            Self::NotAWeight { .. } => ("illegal weight specified".to_owned(), USAGE),
            Self::MissingTimeouts { option: "--set", .. } => {
                ("--set option requires 3 timeout values".to_owned(), USAGE)
            }
            Self::NotATimeout { .. }
            | Self::NotAMark { .. }
            | Self::UnknownFlag { .. }
            | Self::NotForCommand { .. }
            | Self::Incomplete { .. } => (self.to_string(), USAGE),
            Self::Refused { error, .. } => refused(*error),
            other => (format!("{other}; expected {}", other.expected()), USAGE),
        }
    }
}

/// The same for an edit that a director refuses.
#[must_use]
pub fn refused(error: ChangeError) -> (String, u8) {
    match error {
        ChangeError::ServicePortZero | ChangeError::OnePacketNotUdp | ChangeError::MarkZero => {
            (error.to_string(), USAGE)
        }
        ChangeError::FamilyMismatch => {
            ("Different address family is allowed only for tunneling servers".to_owned(), USAGE)
        }
        ChangeError::ThresholdsOutOfRange => ("Numerical result out of range".to_owned(), KERNEL),
        ChangeError::ServiceAddressNotUnicast | ChangeError::DestinationAddressNotUnicast => {
            (NOT_UNICAST.to_owned(), KERNEL)
        }
        other => (other.to_string(), KERNEL),
    }
}
