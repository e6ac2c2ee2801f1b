# Throughline, snippet of type "init". Who may bring a trace along: tracers of your own that call in from outside. Everyone
# else's traceparent is replaced, because whoever chooses a trace id chooses what is shown together.
acl throughline_tracers {
  "127.0.0.1";
}
