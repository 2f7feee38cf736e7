<?php

// Reads a delivery a line, says of each whether the snippet takes it.

require __DIR__ . '/verify.php';

while (($line = fgets(STDIN)) !== false) {
    [$secret, $id, $timestamp, $signature, $body] = explode("\t", rtrim($line, "\n"));
    $headers = ['webhook-id' => $id, 'webhook-timestamp' => $timestamp, 'webhook-signature' => $signature];
    try {
        $event = verify($secret, $headers, $body);
        echo "good {$event['id']}\n";
    } catch (Throwable $error) {
        echo 'refused ', $error->getMessage(), "\n";
    }
}
