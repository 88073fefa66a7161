-- Read jobs. ARGV: ids.
return answer(find_ids(cmsgpack.unpack(ARGV[4])))
