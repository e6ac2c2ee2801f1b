# Throughline, snippet of type "miss". When the fetch begins; the helpers do not travel on.
set req.http.X-Of-Start = time.elapsed.usec;
unset bereq.http.X-Of-Start;
unset bereq.http.X-Of-Ttfb;
unset bereq.http.X-Of-Status;
