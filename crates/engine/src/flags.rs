//! [`Options`] as command-line flags, so that parent and child cannot disagree about them.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::serve::{Options, SECRET_VARIABLE};

/// A flag that is unknown, lacks its value or has one of the wrong form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{flag}: {problem}")]
pub struct FlagError {
    /// The flag.
    pub flag: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Options {
    /// These options as flags; the secret is not among them, it goes by [`SECRET_VARIABLE`].
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let limits = &self.limits;
        let mut out: Vec<OsString> = Vec::new();
        let mut flag = |name: &str, value: OsString| out.extend([OsString::from(name), value]);
        flag("--lib", self.library.clone().into());
        flag("--path", self.data.clone().into());
        flag("--http", self.http.to_string().into());
        if let Some(address) = self.public_http {
            flag("--public-http", address.to_string().into());
        }
        if let Some(path) = &self.public_credentials {
            flag("--public-credentials", path.clone().into());
        }
        for (name, value) in [
            ("--server-memory-bytes", limits.server_memory_bytes),
            ("--public-query-memory-bytes", limits.public_query_memory_bytes),
            ("--public-query-seconds", limits.public_query_seconds),
            ("--service-statements", limits.service_statements as u64),
            ("--public-statements", limits.public_statements as u64),
            ("--merge-threads", u64::from(limits.merge_threads)),
            ("--mark-cache-bytes", limits.mark_cache_bytes),
        ] {
            flag(name, value.to_string().into());
        }
        out.extend(self.stay.then(|| "--stay".into()));
        out.extend(self.insecure.then(|| "--insecure".into()));
        out
    }

    /// Reads flags as [`Options::arguments`] writes them; `--lib` and `--path` are required. The secret is taken from
    /// the environment variable [`SECRET_VARIABLE`] where it is set.
    ///
    /// # Errors
    /// When a flag is unknown, missing or malformed.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, FlagError> {
        let mut options = Self::new(PathBuf::new(), PathBuf::new());
        options.secret = std::env::var(SECRET_VARIABLE).ok().filter(|secret| !secret.is_empty());
        let mut arguments = arguments.into_iter();
        while let Some(flag) = arguments.next() {
            let flag = flag.to_string_lossy().into_owned();
            let fault = |problem| FlagError { flag: flag.clone(), problem };
            match flag.as_str() {
                "--stay" => options.stay = true,
                "--insecure" => options.insecure = true,
                _ => {
                    let value =
                        arguments.next().ok_or_else(|| fault("unknown flag, or its value is missing"))?;
                    options.set(&flag, value).map_err(fault)?;
                }
            }
        }
        let missing = |flag: &str| FlagError { flag: flag.to_owned(), problem: "is required" };
        if options.library.as_os_str().is_empty() {
            return Err(missing("--lib"));
        }
        if options.data.as_os_str().is_empty() {
            return Err(missing("--path"));
        }
        Ok(options)
    }

    fn set(&mut self, flag: &str, value: OsString) -> Result<(), &'static str> {
        let text = value.to_string_lossy().into_owned();
        let address = || text.parse().map_err(|_| "must be address:port");
        let number =
            || text.parse::<u64>().ok().filter(|number| *number > 0).ok_or("must be a number above 0");
        // More places than this are more threads than any machine runs well.
        let places = || number().map(|number| number.min(1024) as usize);
        match flag {
            "--lib" => self.library = value.into(),
            "--path" => self.data = value.into(),
            "--http" => self.http = address()?,
            "--public-http" => self.public_http = Some(address()?),
            "--public-credentials" => self.public_credentials = Some(value.into()),
            "--server-memory-bytes" => self.limits.server_memory_bytes = number()?,
            "--public-query-memory-bytes" => self.limits.public_query_memory_bytes = number()?,
            "--public-query-seconds" => self.limits.public_query_seconds = number()?,
            "--service-statements" => self.limits.service_statements = places()?,
            "--public-statements" => self.limits.public_statements = places()?,
            "--merge-threads" => self.limits.merge_threads = number()?.min(1024) as u32,
            "--mark-cache-bytes" => self.limits.mark_cache_bytes = number()?,
            _ => return Err("unknown flag"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_back_as_the_options_they_were() {
        let mut options = Options::new("/lib.so", "/data");
        options.public_http = Some("127.0.0.1:8123".parse().unwrap());
        options.public_credentials = Some("/c".into());
        options.limits.merge_threads = 2;
        options.stay = true;
        let back = Options::parse(options.arguments()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{options:?}"));
    }

    #[test]
    fn faults_name_their_flag() {
        let fault = |flags: &[&str]| Options::parse(flags.iter().map(OsString::from)).unwrap_err().flag;
        assert_eq!(fault(&["--lib", "x"]), "--path");
        assert_eq!(fault(&["--http", "nowhere"]), "--http");
        assert_eq!(fault(&["--nope"]), "--nope");
        assert_eq!(fault(&["--merge-threads", "0"]), "--merge-threads");
    }
}
