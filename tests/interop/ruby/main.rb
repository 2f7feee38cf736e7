# Reads a delivery a line, says of each whether the snippet takes it.

require_relative "verify"

STDIN.each_line(chomp: true) do |line|
  secret, id, timestamp, signature, body = line.split("\t")
  headers = { "webhook-id" => id, "webhook-timestamp" => timestamp, "webhook-signature" => signature }
  puts "good #{verify(secret, headers, body)["id"]}"
rescue StandardError => error
  puts "refused #{error.message}"
end
