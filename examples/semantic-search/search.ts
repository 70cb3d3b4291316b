// Nearest neighbours by cosine: embeddings have length one, so a dot product is the cosine.

export interface Hit {
  index: number;
  similarity: number;
}

/** The `count` rows of [n, query.length] most similar to the query, best first; equal ones in order of index. */
export function nearest(query: Float32Array, embeddings: Float32Array, count: number): Hit[] {
  const width = query.length;
  const hits: Hit[] = [];
  for (let index = 0; index * width < embeddings.length; index++) {
    let similarity = 0;
    for (let c = 0; c < width; c++) similarity += query[c]! * embeddings[index * width + c]!;
    hits.push({ index, similarity });
  }
  return hits.sort((a, b) => b.similarity - a.similarity || a.index - b.index).slice(0, count);
}
