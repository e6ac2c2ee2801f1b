//! Synthetic requests as consistent log lines of every sender, with the true trace.
