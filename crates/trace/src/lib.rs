//! Hop events of one request put in order: closure over ids, waterfall; pure.
