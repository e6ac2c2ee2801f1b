# Throughline, snippet of type "deliver". Gives the caller the id to ask with, on errors too, and takes the helpers off. A cached
# object carries the helpers of the request that fetched it, so only a request that fetched may keep them.
if (fastly_info.state ~ "^(MISS|PASS|HITPASS)") {
  set req.http.X-Of-Start = resp.http.X-Of-Start;
  set req.http.X-Of-Ttfb = resp.http.X-Of-Ttfb;
  set req.http.X-Of-Status = resp.http.X-Of-Status;
} else {
  unset req.http.X-Of-Start;
  unset req.http.X-Of-Ttfb;
  unset req.http.X-Of-Status;
}
unset resp.http.X-Of-Start;
unset resp.http.X-Of-Ttfb;
unset resp.http.X-Of-Status;
set resp.http.X-Correlation-Id = req.http.X-Correlation-Id;
