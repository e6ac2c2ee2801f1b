# Throughline, snippet of type "recv", priority 5. At the first POP only, and once: strips what clients may not say, mints the
# correlation id, continues or restarts the trace. A shield gets what the first POP sent it.
#
# A shield trusts Fastly-FF, which Fastly checks; never a header that a client could have sent.
if (fastly.ff.visits_this_service == 0 && req.restarts == 0) {
  # Headers by which the mesh, the origin or this service tell who somebody is, in every spelling that an origin may read as
  # the same. Add your own.
  unset req.http.X-Correlation-Id;
  unset req.http.X_Correlation-Id;
  unset req.http.X-Correlation_Id;
  unset req.http.X_Correlation_Id;
  unset req.http.X-Edge-Token;
  unset req.http.X_Edge-Token;
  unset req.http.X-Edge_Token;
  unset req.http.X_Edge_Token;
  unset req.http.X-Auth-Sub;
  unset req.http.X_Auth-Sub;
  unset req.http.X-Auth_Sub;
  unset req.http.X_Auth_Sub;
  unset req.http.X-Request-Id;
  unset req.http.X_Request-Id;
  unset req.http.X-Request_Id;
  unset req.http.X_Request_Id;
  unset req.http.X-Auth-*;
  unset req.http.X-Edge-*;
  unset req.http.X-User*;
  unset req.http.X-Forwarded-Host;
  unset req.http.X-Forwarded-Proto;
  unset req.http.X-Forwarded-Client-Cert;
  unset req.http.X-Envoy-*;
  unset req.http.X-Amzn-Oidc-*;
  unset req.http.X-Real-Ip;
  unset req.http.Forwarded;
  # Helpers of these snippets.
  unset req.http.X-Of-Start;
  unset req.http.X-Of-Ttfb;
  unset req.http.X-Of-Status;

  set req.http.Fastly-Client-IP = client.ip;
  set req.http.X-Forwarded-For = client.ip;

  set req.http.X-Correlation-Id = uuid.version7();
  set req.http.X-Request-Id = req.http.X-Correlation-Id;

  declare local var.trace STRING;
  declare local var.flags STRING;
  set var.trace = "";
  # The grammar of W3C Trace Context, version 00: lower case, fixed lengths, no id of zeros.
  if (client.ip ~ throughline_tracers
      && req.http.traceparent ~ "^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$") {
    set var.trace = re.group.1;
    set var.flags = re.group.3;
    if (var.trace == "00000000000000000000000000000000" || re.group.2 == "0000000000000000") {
      set var.trace = "";
    }
  }
  if (var.trace == "") {
    set var.trace = randomstr(32, "0123456789abcdef");
    unset req.http.tracestate;
    # Istio's default share: tracers in the mesh record one restarted trace in a hundred. Throughline shows all of them.
    if (randombool(1, 100)) {
      set var.flags = "01";
    } else {
      set var.flags = "00";
    }
  }
  set req.http.traceparent = "00-" var.trace "-" randomstr(16, "0123456789abcdef") "-" var.flags;
}
