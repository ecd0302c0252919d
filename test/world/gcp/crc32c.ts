const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  return value
})

/** CRC-32C (Castagnoli, RFC 3720 appendix B.4), big-endian in base64: as Cloud Storage tells it. */
export function crc32c(bytes: Uint8Array): string {
  let sum = 0xffffffff
  for (const byte of bytes) sum = (TABLE[(sum ^ byte) & 255] ?? 0) ^ (sum >>> 8)
  const four = Buffer.alloc(4)
  four.writeUInt32BE((sum ^ 0xffffffff) >>> 0)
  return four.toString('base64')
}
