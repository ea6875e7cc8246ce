// The products that the page knows, and the column of their table that tells categories.

const MOST = 60; // values of a column that can be chips

export const keyOf = (item) => JSON.stringify(item); // ids are texts or numbers
const products = new Map();

/** A product with all that is known of it. */
export function known(one) {
  const key = keyOf(one.item);
  const product = { name: String(one.item), about: {}, ...products.get(key), key, item: one.item };
  if (one.name) product.name = one.name;
  if (one.about) product.about = one.about;
  products.set(key, product);
  return product;
}

/** Categories: the column's name and its values. */
export const categories = { column: "category", values: [] };

/** Learn them from the description of the table: of `category`, else of the first column of few texts. */
export function describe(columns) {
  const few = Object.entries(columns).filter(([, { values }]) => values?.length > 1 && values.length <= MOST);
  const [name, one] = few.find(([name]) => name === "category") ?? few[0] ?? [];
  if (name) Object.assign(categories, { column: name, values: one.values });
}

const all = ({ about }) => [about?.[categories.column] ?? []].flat();

/** The category of a product; undefined where it has none. */
export const categoryOf = (product) => all(product)[0];

/** Whether a product is of one of these categories; of none is of any. */
export const isOf = (product, only) => !only.size || all(product).some((one) => only.has(one));
