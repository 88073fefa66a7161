-- Store new jobs, all or none. ARGV: result_ttl, jobs (see inserting.lua), their bodies.
local kinds, numbers = decide_all(cmsgpack.unpack(ARGV[5]), 6, tonumber(ARGV[4]))
write_all()
return answer_all(kinds, numbers)
