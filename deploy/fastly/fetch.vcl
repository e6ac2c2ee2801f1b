# Throughline, snippet of type "fetch". What the origin (or the shield) did. Fetches may run on another machine of the POP than
# deliveries, and only the response comes back from there, so it is carried on the response.
declare local var.first_byte_us INTEGER;
set var.first_byte_us = std.atoi(time.elapsed.usec);
set var.first_byte_us -= std.atoi(req.http.X-Of-Start);
set beresp.http.X-Of-Start = req.http.X-Of-Start;
set beresp.http.X-Of-Ttfb = var.first_byte_us;
set beresp.http.X-Of-Status = beresp.status;
