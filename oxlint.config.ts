import { layerOverrides } from './lint/layers.ts';

export default {
  plugins: ['typescript', 'import', 'unicorn', 'promise', 'node', 'vitest'],
  options: {
    typeAware: true,
  },
  categories: {
    correctness: 'error',
    suspicious: 'warn',
  },
  rules: {
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/switch-exhaustiveness-check': [
      'error',
      {
        considerDefaultExhaustiveForUnions: false,
      },
    ],
    'typescript/only-throw-error': 'error',
    'typescript/prefer-promise-reject-errors': 'error',
    'typescript/return-await': ['error', 'in-try-catch'],
    'typescript/await-thenable': 'error',
    'typescript/no-unnecessary-condition': 'error',
    'typescript/no-explicit-any': 'error',
    'typescript/no-non-null-assertion': 'error',
    'typescript/consistent-type-imports': [
      'error',
      {
        fixStyle: 'inline-type-imports',
      },
    ],
    'import/no-cycle': 'error',
    'import/no-default-export': 'error',
    'max-lines': [
      'error',
      {
        max: 300,
        skipBlankLines: true,
        skipComments: true,
      },
    ],
    'max-lines-per-function': [
      'error',
      {
        max: 60,
        skipBlankLines: true,
        skipComments: true,
      },
    ],
    'max-params': [
      'error',
      {
        max: 3,
      },
    ],
    complexity: [
      'error',
      {
        max: 12,
        variant: 'modified',
      },
    ],
    'no-console': 'error',
    'no-restricted-globals': ['error', 'setTimeout', 'setInterval', 'setImmediate', 'process'],
    'typescript/consistent-return': 'off',
    'typescript/no-unsafe-type-assertion': 'off',
    'promise/always-return': 'off',
  },
  ignorePatterns: ['dist', 'dist-crash-points', 'node_modules', '.cache', 'proto/gen'],
  overrides: [
    ...layerOverrides(),
    {
      files: ['kernel/clock.ts', 'agent/main.ts', 'control-plane/main.ts'],
      rules: {
        'no-restricted-globals': 'off',
      },
    },
    {
      files: ['test/**', 'bench/**', 'scripts/**', 'demo/**'],
      rules: {
        'max-lines-per-function': 'off',
        'no-restricted-globals': 'off',
        'no-console': 'off',
        'vitest/no-standalone-expect': 'off',
        'vitest/valid-expect': 'off',
        'vitest/require-mock-type-parameters': 'off',
        'typescript/no-extraneous-class': 'off',
      },
    },
    {
      files: ['test/**'],
      rules: {
        'max-lines': [
          'error',
          {
            max: 500,
            skipBlankLines: true,
            skipComments: true,
          },
        ],
      },
    },
    {
      files: ['*.config.ts'],
      rules: {
        'import/no-default-export': 'off',
        'no-restricted-globals': 'off',
      },
    },
  ],
};
