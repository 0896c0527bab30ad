// Makes pictures small: the colours of a dashboard fit into a palette.
import { readFileSync, writeFileSync } from 'node:fs';
import sharp from 'sharp';

for (const path of process.argv.slice(2)) {
  writeFileSync(path, await sharp(readFileSync(path)).png({ palette: true, colours: 64, dither: 0, effort: 10 }).toBuffer());
}
